#include "client/cli/law.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/exit_codes.h"
#include "client/cli/job_runs.h"
#include "client/cli/law_profiles.h"
#include "client/cli/text_table.h"
#include "client/files/csv_table.h"
#include "workers/core/status_macros.h"
#include "workers/planner/law_fit.h"
#include "workers/planner/scaling_law.h"

namespace quantd::cli {
namespace {

std::string Formula(const LawProfile& profile) {
  if (const auto* law = std::get_if<ScalingLaw>(&profile.law)) {
    std::string text =
        absl::StrFormat("delta = %g exp(%g Q_r) N^-%g", law->c, law->a, law->gamma_n);
    if (law->gamma_b > 0 && law->d > 0) {
      absl::StrAppendFormat(&text, " (Q_b + %g)^%g", law->d, law->gamma_b);
    } else if (law->gamma_b > 0) {
      absl::StrAppendFormat(&text, " Q_b^%g", law->gamma_b);
    }
    return text;
  }
  if (const auto* line = std::get_if<BudgetLine>(&profile.law)) {
    return absl::StrFormat("N = exp(%g (1 - Q_r) + %g) for perplexity +%g %%", line->slope,
                           line->intercept, 100 * line->rise);
  }
  const auto& power = std::get<BlockPower>(profile.law);
  return absl::StrFormat("perplexity +%g Q_b^%g %% at N = %g, Q_r = %g", power.factor,
                         power.exponent, power.billions, power.low_share);
}

std::string DeltaText(double delta) {
  return absl::StrFormat("%.4g nats (perplexity +%.4g %%)", delta, 100 * RiseOfDelta(delta));
}

void PrintProfiles(const std::vector<LawProfile>& profiles, std::ostream* out) {
  *out << "N in billions of parameters, Q_r the share of weights in low precision, Q_b the weights "
          "that share a\nscale, delta the rise of the loss in nats (arXiv 2410.06722)\n";
  for (const LawProfile& profile : profiles) {
    *out << "\n"
         << profile.name << "\n  " << Formula(profile) << "\n  holds for  " << profile.holds_for
         << "\n  from       " << profile.provenance << "\n";
  }
}

// "  (0.081 to 0.14)" where the one asked for has a range.
std::string LikelyText(const LawAnswer& answer, const std::function<std::string(double)>& text) {
  if (answer.likely.least == answer.likely.most) return "";
  return absl::StrCat("   likely ", text(answer.likely.least), " to ", text(answer.likely.most));
}

void PrintAnswer(const LawProfile& profile, const LawQuestion& question, const LawAnswer& answer,
                 std::ostream* out) {
  const auto number = [](double v) { return absl::StrFormat("%.4g", v); };
  const auto line = [&](absl::string_view label, bool asked, const std::string& value,
                        const std::function<std::string(double)>& text) {
    *out << absl::StrFormat("%-8s %s%s\n", label, value,
                            asked ? LikelyText(answer, text) : std::string());
  };
  *out << "law      " << profile.name << ": " << Formula(profile) << "\n         from "
       << profile.provenance << "\n         holds for " << profile.holds_for << "\n\n";
  line("N", !question.billions, number(answer.billions) + " billion parameters", number);
  line("Q_r", !question.low_share, number(answer.low_share), number);
  if (answer.block > 0) line("Q_b", !question.block, number(answer.block), number);
  line("delta", !question.delta, DeltaText(answer.delta), number);
  if (answer.block > 0) {
    *out << absl::StrFormat(
        "bits     %.4g a weight on average: 4-bit codes and 8-bit scales, 16 "
        "bits where precision is high\n",
        AverageBits(answer.low_share, 4, 8, answer.block));
  }
  for (const std::string& warning : answer.warnings) *out << "warning: " << warning << "\n";
}

absl::StatusOr<std::vector<LawPoint>> ReadPoints(const std::string& path) {
  QUANTD_ASSIGN_OR_RETURN(const CsvTable table, ReadCsv(path));
  const int billions = table.Column("billions"), low_share = table.Column("low_share");
  const int block = table.Column("block"), delta = table.Column("delta");
  const int rise = table.Column("rise");
  if (billions < 0 || low_share < 0 || block < 0 || (delta < 0) == (rise < 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path,
        ": the columns are billions, low_share, block and one of delta (nats) and rise (of the "
        "perplexity, 0.1 for 10 %); it has ",
        absl::StrJoin(table.columns, ", ")));
  }
  std::vector<LawPoint> points;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    LawPoint point;
    QUANTD_ASSIGN_OR_RETURN(point.billions, NumberAt(table, row, billions, path));
    QUANTD_ASSIGN_OR_RETURN(point.low_share, NumberAt(table, row, low_share, path));
    QUANTD_ASSIGN_OR_RETURN(point.block, NumberAt(table, row, block, path));
    QUANTD_ASSIGN_OR_RETURN(point.delta, NumberAt(table, row, delta < 0 ? rise : delta, path));
    if (delta < 0) point.delta = DeltaOfRise(point.delta);
    points.push_back(point);
  }
  return points;
}

void PrintFit(const LawFit& fit, std::ostream* out) {
  const ScalingLaw& law = fit.law;
  TextTable table({{"constant", true}, {"value"}, {"standard error"}});
  const auto row = [&table](const char* name, double value, double error) {
    table.AddRow(
        {name, absl::StrFormat("%.6g", value), error > 0 ? absl::StrFormat("%.2g", error) : "-"});
  };
  row("ln C", std::log(law.c), fit.errors.ln_c);
  row("A", law.a, fit.errors.a);
  row("gamma_N", law.gamma_n, fit.errors.gamma_n);
  row("gamma_b", law.gamma_b, fit.errors.gamma_b);
  row("d", law.d, 0);
  *out << table.Text() << "\n"
       << absl::StrFormat("%d points, R2 %.4f and residual %.4g of ln delta\n", fit.points, fit.r2,
                          law.residual);
  for (const std::string& held : fit.held) *out << "held: " << held << "\n";
}

absl::StatusOr<LawFit> Fit(const LawFitFlags& flags) {
  QUANTD_ASSIGN_OR_RETURN(const std::vector<LawPoint> points, ReadPoints(flags.points));
  if (flags.prior.empty()) return FitLaw(points, nullptr);
  QUANTD_ASSIGN_OR_RETURN(const std::vector<LawProfile> profiles, LoadLawProfiles(flags.profiles));
  QUANTD_ASSIGN_OR_RETURN(const LawProfile prior, FindLawProfile(profiles, flags.prior));
  const auto* law = std::get_if<ScalingLaw>(&prior.law);
  if (law == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("--prior: ", prior.name, " is no law of N, Q_r and Q_b"));
  }
  return FitLaw(points, law);
}

}  // namespace

int RunLaw(const LawFlags& flags, Environment* env) {
  const absl::StatusOr<std::vector<LawProfile>> profiles = LoadLawProfiles(flags.profiles);
  if (!profiles.ok()) return Fail(profiles.status(), env);
  const LawQuestion& question = flags.question;
  if (!question.billions && !question.low_share && !question.block && !question.delta) {
    PrintProfiles(*profiles, env->out);
    return kExitOk;
  }
  const absl::StatusOr<LawProfile> profile = FindLawProfile(*profiles, flags.profile);
  if (!profile.ok()) return Fail(profile.status(), env);
  const absl::StatusOr<LawAnswer> answer = AskLaw(*profile, question);
  if (!answer.ok()) return Fail(answer.status(), env);
  if (!answer->warnings.empty() && !flags.extrapolate) {
    for (const std::string& warning : answer->warnings) {
      *env->err << "error: " << warning << "\n";
    }
    *env->err << "the law was not measured there; --extrapolate answers all the same\n";
    return kExitBadInput;
  }
  PrintAnswer(*profile, question, *answer, env->out);
  return kExitOk;
}

int RunLawFit(const LawFitFlags& flags, Environment* env) {
  const absl::StatusOr<LawFit> fit = Fit(flags);
  if (!fit.ok()) return Fail(fit.status(), env);
  PrintFit(*fit, env->out);
  *env->out << "\n# as a profile, for --profiles FILE\n"
            << LawProfileYaml("fitted", absl::StrCat("fitted to ", fit->points, " points"), *fit);
  return kExitOk;
}

}  // namespace quantd::cli
