#include "workers/core/spec_fields.h"

#include <cmath>
#include <cstdio>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "workers/core/spec_names.h"

namespace quantd {
namespace {

using Type = SpecField::Type;

// Both accessors of one member, whatever its type.
#define QUANTD_ACCESS(member)                                  \
  [](const Spec& s) { return static_cast<double>(s.member); }, \
      [](Spec* s, double v) { s->member = static_cast<decltype(s->member)>(v); }

#define QUANTD_ENUM(name, member, names, help) \
  { name, #member, Type::kEnum, names, 0, 0, help, QUANTD_ACCESS(member) }
#define QUANTD_INT(name, member, min, max, help) \
  { name, #member, Type::kInt, {}, min, max, help, QUANTD_ACCESS(member) }
#define QUANTD_REAL(name, member, min, max, help) \
  { name, #member, Type::kReal, {}, min, max, help, QUANTD_ACCESS(member) }
#define QUANTD_BOOL(name, member, help) \
  { name, #member, Type::kBool, {}, 0, 1, help, QUANTD_ACCESS(member) }

constexpr double kAny = 1e308;

const SpecField kFields[] = {
    QUANTD_ENUM("levels", levels.kind, kLevelKindNames, "what a code can stand for"),
    QUANTD_INT("bits", levels.bits, 2, 8, "bits of one code"),
    QUANTD_ENUM("symmetry", levels.symmetry, kSymmetryNames, "affine: how a range becomes a scale"),
    QUANTD_ENUM("zero", levels.zero, kZeroPointNames, "affine, asymmetric: what a zero point is"),
    QUANTD_ENUM("format", levels.format, kNumberFormatNames, "minifloat: the element format"),
    QUANTD_ENUM("table", levels.table, kFixedTableNames, "fixed table: which"),
    QUANTD_INT("codebooks", levels.codebooks, 1, 16, "additive: codes of a patch"),
    QUANTD_INT("codebook-bits", levels.codebook_bits, 1, 16, "additive: bits of one code"),
    QUANTD_INT("out-group", levels.out_group, 1, 64, "additive: rows of a patch"),
    QUANTD_INT("in-group", levels.in_group, 1, 64, "additive: columns of a patch"),
    QUANTD_ENUM("granularity", partition.granularity, kGranularityNames,
                "how many weights share parameters"),
    QUANTD_INT("group-size", partition.group_size, 1, 1 << 30, "weights of a group"),
    QUANTD_ENUM("group-axis", partition.axis, kGroupAxisNames,
                "groups run along a row (out), down a column (in), or the better (adaptive)"),
    QUANTD_BOOL("strided", partition.strided,
                "groups down a column take rows m / group-size apart"),
    QUANTD_ENUM("tail", partition.tail, kTailPolicyNames, "when group-size does not divide"),
    QUANTD_ENUM("fit", fit.kind, kFitKindNames, "how parameters are found"),
    QUANTD_INT("fit-steps", fit.steps, 1, 1000, "searches: candidates beside the full range"),
    QUANTD_REAL("shrink-to", fit.shrink_to, 1e-3, 1, "searches: the smallest candidate factor"),
    QUANTD_REAL("norm", fit.norm, 0.01, 4, "shrink search and hqq: exponent of the error"),
    QUANTD_INT("fit-iterations", fit.iterations, 1, 1000,
               "hqq and residual k-means: rounds at most"),
    QUANTD_REAL("beta", fit.beta, 1e-3, 1e6, "hqq: weight of the splitting at the start"),
    QUANTD_REAL("kappa", fit.kappa, 1, 100, "hqq: growth of beta in each round"),
    QUANTD_ENUM("importance", fit.importance, kImportanceNames, "k-means: what an error counts"),
    QUANTD_INT("fine-bits", fit.fine_bits, 3, 8, "binary search: bits of the finer grid"),
    QUANTD_ENUM("seeding", fit.seeding, kSeedingNames, "residual k-means: how it starts"),
    QUANTD_INT("fit-seed", fit.seed, 0, 4294967295.0,
               "additive: of the k-means and of the order of the beam search"),
    QUANTD_INT("refine-rounds", fit.refine_rounds, 0, 100,
               "residual k-means: rounds of H-weighted refinement after each"),
    QUANTD_INT("points-per-center", fit.points_per_center, 0, 1 << 30,
               "residual k-means: patches it trains on, for each center; 0 = all"),
    QUANTD_ENUM("storage", storage.kind, kStorageKindNames, "how scales are stored"),
    QUANTD_ENUM("scale-rounding", storage.rounding, kScaleRoundingNames,
                "e8m0: which power of two"),
    QUANTD_INT("scale-bits", storage.bits, 2, 8,
               "int storage: bits of a scale and of a zero; table storage: of a scale"),
    QUANTD_INT("super-group", storage.super_group, 1, 4096,
               "int storage: rows that share second-level numbers"),
    QUANTD_ENUM("scaling", transform.scaling, kScalingKindNames, "scales of input columns"),
    QUANTD_INT("scaling-steps", transform.scaling_steps, 1, 1000, "awq: exponents that are tried"),
    QUANTD_REAL("scaling-alpha", transform.scaling_alpha, 0, 1, "smooth: share of the activations"),
    QUANTD_ENUM("rotation", transform.rotation, kRotationKindNames,
                "Hadamard rotation of inputs, or of inputs and outputs"),
    QUANTD_INT("rotation-block", transform.rotation_block, 0, 1 << 24,
               "a power of two; 0: the largest that divides"),
    QUANTD_INT("seed", transform.rotation_seed, 0, 4294967295.0, "of the rotation's signs"),
    QUANTD_ENUM("correction", transform.correction, kCorrectionKindNames,
                "moves weights towards what drifted inputs need"),
    QUANTD_REAL("correction-alpha", transform.correction_alpha, 0, 1, "qep: strength"),
    QUANTD_REAL("correction-damping", transform.correction_damping, 0, 100,
                "qep: lambda / mean(diag H)"),
    QUANTD_ENUM("outliers", exceptions.outliers, kOutlierKindNames,
                "which single weights stay 16-bit"),
    QUANTD_REAL("outlier-share", exceptions.share, 0, 0.5, "of all weights"),
    QUANTD_REAL("second-share", exceptions.second_share, 0, 0.5,
                "range-fisher: by Fisher; column-share: of the best columns' weights"),
    QUANTD_REAL("column-share", exceptions.column_share, 0, 1, "column-share: best columns"),
    QUANTD_REAL("threshold", exceptions.threshold, 0, 1e6,
                "threshold: tau at 4 bits; four times as much for each bit less"),
    QUANTD_REAL("max-share", exceptions.max_share, 0, 0.5, "threshold: of a row, at most"),
    QUANTD_REAL("kept-columns", exceptions.kept_columns, 0, 0.5, "share of columns kept 16-bit"),
    QUANTD_INT("mask-kept", exceptions.mask_kept, 0, 32, "n of an n:m mask: weights that stay"),
    QUANTD_INT("mask-of", exceptions.mask_of, 0, 32, "m of an n:m mask; 0 = none"),
    QUANTD_INT("recent-rows", exceptions.recent_rows, 0, 1 << 24, "last rows that stay 16-bit"),
    QUANTD_ENUM("allocation", allocation.kind, kAllocationKindNames, "who gets how many bits"),
    QUANTD_INT("high-bits", allocation.high_bits, 2, 8, "column-score: bits of the best columns"),
    QUANTD_REAL("high-share", allocation.share, 0, 1, "column-score: share of best columns"),
    QUANTD_REAL("error-factor", allocation.factor, 1, 1e12,
                "round-off: squared error allowed, over that of 8 bits"),
    QUANTD_ENUM("solver", solve.solver, kSolverNames, "how codes are chosen"),
    QUANTD_ENUM("order", solve.order, kOrderNames, "gptq: order of columns"),
    QUANTD_ENUM("timing", solve.timing, kGroupTimingNames, "gptq: when groups are fitted"),
    QUANTD_ENUM("factorization", solve.factorization, kFactorizationNames,
                "gptq: form of the sweep"),
    QUANTD_INT("block-columns", solve.block_columns, 1, 1024, "gptq: lazy batch; speed only"),
    QUANTD_REAL("damping", solve.damping.fraction, 0, kAny, "gptq: lambda / mean(diag H)"),
    QUANTD_REAL("damping-step", solve.damping.step, 1, kAny, "gptq: next rung of the ladder"),
    QUANTD_REAL("damping-limit", solve.damping.limit, 0, kAny, "gptq: last rung"),
    QUANTD_REAL("asymmetric", solve.asymmetric, 0, 1,
                "gptaq: alpha of the cross moment's feedback"),
    QUANTD_INT("descent-passes", solve.descent_passes, 0, 100, "gptq: polish after the sweep"),
    QUANTD_INT("fallback-descent-passes", solve.fallback_descent_passes, 0, 100,
               "gptq: passes where H cannot be factored; 0 = REJECTED"),
    QUANTD_INT("beam", solve.beam, 1, 64, "beam: hypotheses kept for each out group"),
    QUANTD_INT("rounds", solve.rounds, 0, 10000, "beam: rounds at most"),
    QUANTD_REAL("tolerance", solve.tolerance, 0, 1,
                "beam: ends when a round lowers the loss by less than this share; 0 = never"),
    QUANTD_ENUM("update", solve.update, kCodebookRuleNames, "beam: how codebooks follow codes"),
    QUANTD_INT("update-steps", solve.update_steps, 1, 10000, "beam: steps of one update"),
    QUANTD_REAL("learning-rate", solve.learning_rate, 1e-12, 1, "adam"),
    QUANTD_ENUM("adam", solve.adam, kAdamRuleNames, "adam: betas of the paper or of its code"),
    QUANTD_REAL("changed-share", solve.changed_share, 1e-9, 1,
                "given: share of patches that get new codes"),
};

#undef QUANTD_ACCESS
#undef QUANTD_ENUM
#undef QUANTD_INT
#undef QUANTD_REAL
#undef QUANTD_BOOL

std::string Range(const SpecField& field) {
  const auto end = [](double v) { return v == kAny ? std::string("inf") : absl::StrCat(v); };
  return field.type == Type::kReal
             ? absl::StrCat("[", end(field.min), ", ", end(field.max), "]")
             : absl::StrCat(absl::SixDigits(field.min), "..", static_cast<int64_t>(field.max));
}

absl::Status Bad(absl::string_view key, absl::string_view value, absl::string_view allowed) {
  return absl::InvalidArgumentError(absl::StrCat(key, ": \"", value, "\" is not ", allowed));
}

// The number of the value that `text` names; 0 when none or several fit.
size_t EnumValue(absl::Span<const absl::string_view> names, absl::string_view text) {
  size_t found = 0, hits = 0;
  for (size_t i = 1; i < names.size(); ++i) {
    if (names[i] == text) return i;
    if (!text.empty() && absl::StartsWith(names[i], text)) {
      found = i;
      ++hits;
    }
  }
  return hits == 1 ? found : 0;
}

}  // namespace

absl::Span<const SpecField> SpecFields() { return kFields; }

const SpecField* FindSpecField(absl::string_view key) {
  for (const SpecField& field : kFields) {
    if (field.name == key || field.path == key) return &field;
  }
  return nullptr;
}

absl::Status CheckFieldValue(const SpecField& field, double value, absl::string_view where) {
  const bool whole = field.type == Type::kReal || value == std::floor(value);
  if (value >= field.min && value <= field.max && whole) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", value, " is not in ", Range(field)));
}

absl::Status SetSpecField(absl::string_view key, absl::string_view text, Spec* spec) {
  if (const SpecShorthand* shorthand = FindSpecShorthand(key)) return shorthand->set(text, spec);
  const SpecField* field = FindSpecField(key);
  if (field == nullptr) return absl::NotFoundError(absl::StrCat("unknown key \"", key, "\""));
  if (field->type == Type::kEnum) {
    const size_t value = EnumValue(field->names, text);
    if (value == 0) return Bad(key, text, absl::StrJoin(field->names.subspan(1), ", "));
    field->set(spec, static_cast<double>(value));
    return absl::OkStatus();
  }
  if (field->type == Type::kBool) {
    bool value = false;
    if (!absl::SimpleAtob(text, &value)) return Bad(key, text, "true or false");
    field->set(spec, value ? 1 : 0);
    return absl::OkStatus();
  }
  double value = 0;
  if (!absl::SimpleAtod(text, &value) || !CheckFieldValue(*field, value, key).ok()) {
    return Bad(key, text,
               absl::StrCat(field->type == Type::kInt ? "a whole number in " : "a number in ",
                            Range(*field)));
  }
  field->set(spec, value);
  return absl::OkStatus();
}

std::string SpecFieldText(const SpecField& field, const Spec& spec) {
  const double value = field.get(spec);
  switch (field.type) {
    case Type::kEnum: {
      const size_t number = static_cast<size_t>(value);
      return std::string(number < field.names.size() ? field.names[number] : field.names[0]);
    }
    case Type::kBool:
      return value != 0 ? "true" : "false";
    case Type::kInt:
      return absl::StrCat(static_cast<int64_t>(value));
    case Type::kReal:
      break;
  }
  // The shortest text that reads back as the same number.
  for (int digits = 6; digits < 17; ++digits) {
    char text[40];
    snprintf(text, sizeof text, "%.*g", digits, value);
    double back = 0;
    if (absl::SimpleAtod(text, &back) && back == value) return text;
  }
  char text[40];
  snprintf(text, sizeof text, "%.17g", value);
  return text;
}

}  // namespace quantd
