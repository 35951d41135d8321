#include "workers/solve/additive.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "workers/core/scratch_pool.h"
#include "workers/core/shape.h"
#include "workers/core/state_bytes.h"
#include "workers/core/status_macros.h"
#include "workers/fit/residual_kmeans.h"
#include "workers/solve/beam_scratch.h"
#include "workers/solve/beam_search.h"
#include "workers/solve/codebook_update.h"
#include "workers/solve/given_codes.h"
#include "workers/solve/scale_fit.h"

namespace quantd {
namespace {

constexpr uint32_t kStateVersion = 1;
// Share of a solve's time that its start is taken to need, for progress alone.
constexpr double kStartShare = 0.1;
// The same for all before the last search, through rounded codebooks.
constexpr double kSearchedShare = 0.95;

enum class Stage : uint8_t {
  kStart = 0,        // residual k-means
  kBeginRound = 1,   // the gradient for new codes
  kUpdate = 2,       // steps on the codebooks
  kSearch = 3,       // codes of some out groups
  kRound = 4,        // codebooks to F16, scales to what is stored
  kFinalSearch = 5,  // codes for the rounded codebooks
  kFinalScales = 6,
  kDone = 7,
};

// What is saved: every number that later steps depend on.
struct Position {
  Stage stage = Stage::kStart;
  int64_t round = 0;
  int64_t step = 0;          // of the update; out groups done of a search
  double loss = 0;           // after the last whole step
  double round_begin = 0;    // loss that this round started from
  double search_change = 0;  // of the loss, by the out groups that this search has done
  double first_gain = 0;     // share of the loss that the first round took away
  double fraction = 0;
};

class Alternation {
 public:
  Alternation(const AdditiveProblem& problem, Executor& executor, const CancelToken& cancel,
              SolveWatch* watch)
      : problem_(problem),
        spec_(*problem.spec),
        metric_(*problem.metric),
        shape_(AdditiveShape::Of(*problem.spec, problem.weight.m, problem.weight.n)),
        executor_(executor),
        cancel_(cancel),
        watch_(watch) {}

  absl::StatusOr<AdditiveCode> Run() {
    QUANTD_RETURN_IF_ERROR(Prepare());
    while (at_.stage != Stage::kDone) {
      const Stage before = at_.stage;
      QUANTD_RETURN_IF_ERROR(Step());
      QUANTD_RETURN_IF_ERROR(cancel_.Check());
      // Steps of Adam may leave the numbers; the update's end brings back what was best.
      if (at_.stage != Stage::kUpdate) {
        if (!std::isfinite(at_.loss)) {
          return absl::InvalidArgumentError(
              absl::StrCat("the loss became ", at_.loss, " in round ", at_.round));
        }
        if (at_.stage != before) QUANTD_RETURN_IF_ERROR(CheckCodeFinite());
      }
      Tell(watch_->StateDue());
    }
    Tell(watch_->WantsStates());
    return std::move(code_);
  }

 private:
  bool given() const { return spec_.fit.kind == FitKind::kGiven; }

  absl::Status Prepare() {
    StateReader saved(problem_.state);
    const bool resumed = !problem_.state.empty();
    if (!given()) QUANTD_RETURN_IF_ERROR(PrepareStart());
    if (resumed) QUANTD_RETURN_IF_ERROR(Load(&saved));
    if (at_.stage == Stage::kDone) return saved.End();
    // Its arrays and those of the start are not needed together.
    if (at_.stage != Stage::kStart || given()) QUANTD_RETURN_IF_ERROR(CreateUpdate());
    if (given()) QUANTD_RETURN_IF_ERROR(MarkChanged());
    if (!resumed) return given() ? TakeGiven() : absl::OkStatus();
    if (SavesUpdate()) QUANTD_RETURN_IF_ERROR(update_->Load(&saved));
    return saved.End();
  }

  absl::Status CreateUpdate() {
    QUANTD_ASSIGN_OR_RETURN(update_, CodebookUpdate::Create(spec_, shape_, problem_.weight, metric_,
                                                            executor_, cancel_));
    return absl::OkStatus();
  }

  absl::Status PrepareStart() {
    if (!metric_.identity() && spec_.fit.refine_rounds > 0) {
      const int64_t block = shape_.in_group * shape_.in_group;
      blocks_.resize(shape_.in_groups() * block);
      for (int64_t j = 0; j < shape_.in_groups(); ++j) {
        metric_.Block(j * shape_.in_group, shape_.in_group, blocks_.data() + j * block);
      }
    }
    QUANTD_ASSIGN_OR_RETURN(ResidualKMeans start,
                            ResidualKMeans::Create(spec_, shape_, problem_.weight,
                                                   blocks_.empty() ? nullptr : blocks_.data()));
    start_.emplace(std::move(start));
    return absl::OkStatus();
  }

  // Given codebooks and scales are stored as they are; only codes are looked for.
  absl::Status TakeGiven() {
    code_ = *problem_.given;
    QUANTD_RETURN_IF_ERROR(RoundToStored(&code_));
    if (code_.codes.empty()) {
      QUANTD_RETURN_IF_ERROR(NearestCodes(shape_, problem_.weight, executor_, cancel_, &code_));
    }
    at_.stage = spec_.solve.rounds > 0 ? Stage::kSearch : Stage::kDone;
    at_.round = 1;
    QUANTD_ASSIGN_OR_RETURN(at_.loss, update_->Loss(code_, executor_, cancel_));
    at_.round_begin = at_.loss;
    return absl::OkStatus();
  }

  // Patches whose codes may change are those farthest from the codes that came with the request.
  absl::Status MarkChanged() {
    if (spec_.solve.changed_share >= 1 || problem_.given->codes.empty()) return absl::OkStatus();
    AdditiveCode code = *problem_.given;
    QUANTD_RETURN_IF_ERROR(RoundToStored(&code));
    QUANTD_ASSIGN_OR_RETURN(free_, FarthestPatches(shape_, problem_.weight, code,
                                                   spec_.solve.changed_share, executor_, cancel_));
    return absl::OkStatus();
  }

  absl::Status Step() {
    switch (at_.stage) {
      case Stage::kStart:
        return StepStart();
      case Stage::kBeginRound:
        return BeginRound();
      case Stage::kUpdate:
        return StepUpdate();
      case Stage::kSearch:
        return StepSearch(Stage::kSearch);
      case Stage::kRound:
        return RoundCode();
      case Stage::kFinalSearch:
        return StepSearch(Stage::kFinalSearch);
      case Stage::kFinalScales:
        return FinalScales();
      case Stage::kDone:
        break;
    }
    return absl::OkStatus();
  }

  absl::Status StepStart() {
    QUANTD_RETURN_IF_ERROR(start_->Step(executor_, cancel_));
    at_.fraction = kStartShare * start_->fraction();
    if (!start_->done()) return absl::OkStatus();
    code_ = start_->Take();
    start_.reset();
    QUANTD_RETURN_IF_ERROR(CreateUpdate());
    at_.stage = spec_.solve.rounds > 0 ? Stage::kBeginRound : Stage::kRound;
    at_.round = 1;
    return absl::OkStatus();
  }

  absl::Status BeginRound() {
    QUANTD_ASSIGN_OR_RETURN(const double loss, update_->Begin(&code_, executor_, cancel_));
    // The first round is measured against what it found; later ones against the last search.
    if (at_.round == 1) at_.round_begin = loss;
    at_.loss = loss;
    at_.step = 0;
    at_.stage = Stage::kUpdate;
    return absl::OkStatus();
  }

  absl::Status StepUpdate() {
    QUANTD_ASSIGN_OR_RETURN(at_.loss, update_->Step(&code_, executor_, cancel_));
    if (++at_.step < spec_.solve.update_steps) return absl::OkStatus();
    at_.loss = update_->End(&code_);
    at_.step = 0;
    at_.stage = Stage::kSearch;
    return absl::OkStatus();
  }

  // Codes of the next out groups: enough for all threads a few times over, so that states can be
  // saved and progress told in between.
  absl::Status StepSearch(Stage stage) {
    // Passes of different rounds go in different orders.
    const uint64_t seed = uint64_t{spec_.fit.seed} << 32 |
                          static_cast<uint64_t>(2 * at_.round + (stage == Stage::kFinalSearch));
    if (pass_ == nullptr || pass_seed_ != seed) {
      pass_ =
          std::make_unique<BeamPass>(shape_, metric_, code_.books.data(), spec_.solve.beam, seed);
      pass_seed_ = seed;
    }
    const int64_t tile = pass_->OutGroupsAtOnce(), first = at_.step;
    const int64_t tiles = std::min<int64_t>(CeilDiv(shape_.out_groups() - first, tile),
                                            4 * static_cast<int64_t>(executor_.width()));
    std::vector<double> changes(tiles, 0.0);
    executor_.ParallelFor(tiles, [&](int64_t t) {
      if (cancel_.cancelled()) return;
      const int64_t begin = first + t * tile;
      changes[t] = SearchTile(begin, std::min(tile, shape_.out_groups() - begin));
    });
    QUANTD_RETURN_IF_ERROR(cancel_.Check());
    for (const double change : changes) at_.search_change += change;
    at_.step = std::min(first + tiles * tile, shape_.out_groups());
    const double part = static_cast<double>(at_.step) / static_cast<double>(shape_.out_groups());
    at_.fraction = std::max(at_.fraction, stage == Stage::kFinalSearch
                                              ? kSearchedShare + (1 - kSearchedShare) * part
                                              : RoundsFraction(LeastShare(at_.round - 1 + part)));
    if (at_.step == shape_.out_groups()) EndSearch(stage);
    return absl::OkStatus();
  }

  // By how much the losses of these out groups change: no whole product with H is needed for that.
  double SearchTile(int64_t begin, int64_t count) {
    const int64_t rows = count * shape_.out_group, n = shape_.n;
    std::vector<float> w(rows * n), error(rows * n);
    std::vector<double> change(count);
    problem_.weight.ReadRows(begin * shape_.out_group, rows, w.data());
    std::unique_ptr<BeamScratch> scratch = scratches_.Take();
    pass_->Run(w.data(), code_.scales.data() + begin * shape_.scale_columns,
               free_.empty() ? nullptr : free_.data() + begin * shape_.in_groups(), count,
               code_.codes.data() + begin * shape_.in_groups() * shape_.codebooks, error.data(),
               nullptr, change.data(), scratch.get(), cancel_);
    scratches_.Give(std::move(scratch));
    double sum = 0;
    for (const double c : change) sum += c;
    return sum;
  }

  void EndSearch(Stage stage) {
    // In this order of the two, a loss that is not a number stays one.
    at_.loss = std::max(at_.loss + at_.search_change, 0.0);
    at_.search_change = 0;
    at_.step = 0;
    pass_.reset();
    if (stage == Stage::kFinalSearch) {
      at_.stage = Stage::kFinalScales;
      return;
    }
    const double energy = update_->weight_energy();
    if (energy > 0) watch_->OnRound(static_cast<int>(at_.round), at_.loss / energy);
    const double gain = at_.round_begin > 0 ? std::max(0.0, 1 - at_.loss / at_.round_begin) : 0.0;
    if (at_.round == 1) at_.first_gain = gain;
    at_.fraction = std::max(at_.fraction, RoundsFraction(ConvergedShare(gain)));
    const bool last = at_.round >= spec_.solve.rounds || at_.loss == 0 ||
                      (spec_.solve.tolerance > 0 && gain < spec_.solve.tolerance);
    if (!last) {
      ++at_.round;
      at_.round_begin = at_.loss;
      at_.stage = given() ? Stage::kSearch : Stage::kBeginRound;
    } else {
      at_.stage = given() ? Stage::kDone : Stage::kRound;
    }
  }

  // `share` of the rounds, as a fraction of the solve.
  double RoundsFraction(double share) const {
    const double begin = given() ? 0 : kStartShare;
    return begin + (kSearchedShare - begin) * share;
  }

  // What is done for sure after so many rounds, parts of one included.
  double LeastShare(double rounds) const {
    return spec_.solve.tolerance > 0 ? 1 - std::pow(0.8, rounds)
                                     : rounds / std::max(1, spec_.solve.rounds);
  }

  // Gains shrink by about the same factor from round to round, so their logarithm tells how far it
  // is to the tolerance.
  double ConvergedShare(double gain) const {
    const double tolerance = spec_.solve.tolerance;
    if (!(tolerance > 0 && at_.first_gain > tolerance && gain > 0)) return 0;
    const double way = std::log(at_.first_gain / tolerance);
    return std::clamp(std::log(at_.first_gain / gain) / way, 0.0, 1.0);
  }

  absl::Status RoundCode() {
    // A number that grew beyond F16 becomes its largest one, and the scales are fitted to that.
    for (auto* values : {&code_.books, &code_.scales, &code_.scale_tables}) {
      std::transform(values->begin(), values->end(), values->begin(), NearestF16);
    }
    QUANTD_ASSIGN_OR_RETURN(at_.loss, update_->FitScales(true, &code_, executor_, cancel_));
    at_.step = 0;
    at_.stage = Stage::kFinalSearch;
    return absl::OkStatus();
  }

  absl::Status FinalScales() {
    QUANTD_ASSIGN_OR_RETURN(at_.loss, update_->FitScales(true, &code_, executor_, cancel_));
    at_.fraction = 1;
    at_.stage = Stage::kDone;
    return absl::OkStatus();
  }

  void Tell(bool state_due) {
    watch_->OnFraction(at_.fraction);
    if (state_due) watch_->OnState(Saved());
  }

  // Adam's moments outlive their round.
  bool SavesUpdate() const {
    return !given() && at_.stage != Stage::kStart && at_.stage != Stage::kDone;
  }

  std::string Saved() const {
    StateWriter out;
    out.Number(kStateVersion);
    out.Number(static_cast<uint8_t>(at_.stage));
    Visit(at_, [&](auto value) { out.Number(value); });
    if (at_.stage == Stage::kStart) {
      start_->Save(&out);
      return out.Take();
    }
    out.Reserve(2 * code_.codes.size() + 40 * code_.books.size() + 16 * code_.scales.size() +
                4 * code_.scale_tables.size());
    out.Numbers(code_.books);
    out.Numbers(code_.codes);
    out.Numbers(code_.scales);
    out.Numbers(code_.scale_tables);
    out.Numbers(code_.scale_codes);
    if (SavesUpdate()) update_->Save(&out);
    return out.Take();
  }

  absl::Status Load(StateReader* in) {
    uint32_t version = 0;
    QUANTD_RETURN_IF_ERROR(in->Number(&version));
    if (version != kStateVersion) {
      return absl::InvalidArgumentError(
          absl::StrCat("the saved state has version ", version, ", not ", kStateVersion));
    }
    uint8_t stage = 0;
    absl::Status status = in->Number(&stage);
    at_.stage = static_cast<Stage>(stage);
    Visit(at_, [&](auto& value) {
      if (status.ok()) status = in->Number(&value);
    });
    QUANTD_RETURN_IF_ERROR(status);
    QUANTD_RETURN_IF_ERROR(CheckPosition());
    if (at_.stage == Stage::kStart) return start_->Load(in);
    start_.reset();
    const bool table = spec_.storage.kind == StorageKind::kTable;
    const int64_t scales = shape_.out_groups() * shape_.scale_columns;
    QUANTD_RETURN_IF_ERROR(in->Numbers(shape_.book_numbers(), &code_.books));
    QUANTD_RETURN_IF_ERROR(in->Numbers(shape_.codes(), &code_.codes));
    QUANTD_RETURN_IF_ERROR(in->Numbers(scales, &code_.scales));
    QUANTD_RETURN_IF_ERROR(
        in->Numbers(table ? shape_.out_groups() << spec_.storage.bits : 0, &code_.scale_tables));
    QUANTD_RETURN_IF_ERROR(in->Numbers(table ? scales : 0, &code_.scale_codes));
    return CheckCode();
  }

  absl::Status CheckCode() {
    for (const uint16_t code : code_.codes) {
      if (code >= shape_.entries) return BadState("a code beyond its codebook");
    }
    for (size_t i = 0; i < code_.scale_codes.size(); ++i) {
      const int64_t out_group = static_cast<int64_t>(i) / shape_.scale_columns;
      if (code_.scale_codes[i] >> spec_.storage.bits != 0) {
        return BadState("a scale code beyond its table");
      }
      code_.scales[i] =
          code_.scale_tables[(out_group << spec_.storage.bits) + code_.scale_codes[i]];
    }
    // From here on codebooks are not rounded any more, and given ones never are.
    if (at_.stage > Stage::kRound || given()) return RoundToStored(&code_);
    return at_.stage == Stage::kUpdate ? absl::OkStatus() : CheckCodeFinite();
  }

  absl::Status CheckCodeFinite() const {
    QUANTD_RETURN_IF_ERROR(CheckFinite("codebook number", code_.books));
    QUANTD_RETURN_IF_ERROR(CheckFinite("scale", code_.scale_tables));
    return CheckFinite("scale", code_.scales);
  }

  absl::Status CheckFinite(absl::string_view what, absl::Span<const float> values) const {
    for (size_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(values[i])) {
        return absl::InvalidArgumentError(
            absl::StrCat(what, " ", i, " became ", values[i], " in round ", at_.round));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckPosition() const {
    if (at_.stage > Stage::kDone) return BadState("an unknown stage");
    if (given() && at_.stage != Stage::kSearch && at_.stage != Stage::kDone) {
      return BadState("a stage that given codebooks do not have");
    }
    const int64_t steps =
        at_.stage == Stage::kUpdate ? spec_.solve.update_steps : shape_.out_groups();
    if (at_.step < 0 || at_.step > steps || at_.round < 0 ||
        at_.round > std::max(1, spec_.solve.rounds)) {
      return BadState("a position beyond the end");
    }
    for (const double v : {at_.loss, at_.round_begin, at_.search_change, at_.first_gain}) {
      if (at_.stage != Stage::kUpdate && !std::isfinite(v)) return BadState("no finite loss");
    }
    if (!(at_.fraction >= 0 && at_.fraction <= 1)) return BadState("a fraction beyond 1");
    return absl::OkStatus();
  }

  static absl::Status BadState(absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("the saved state has ", what));
  }

  // Every number of a Position but the stage, in the order they are stored.
  template <typename P, typename F>
  static void Visit(P& at, F&& f) {
    f(at.round), f(at.step), f(at.loss), f(at.round_begin);
    f(at.search_change), f(at.first_gain), f(at.fraction);
  }

  const AdditiveProblem& problem_;
  const Spec& spec_;
  const Metric& metric_;
  const AdditiveShape shape_;
  Executor& executor_;
  const CancelToken& cancel_;
  SolveWatch* watch_;

  Position at_;
  AdditiveCode code_;
  std::vector<float> blocks_;  // [in_groups, in_group, in_group], for the refinement
  std::optional<ResidualKMeans> start_;
  std::optional<CodebookUpdate> update_;
  std::vector<uint8_t> free_;  // [out_groups, in_groups]; empty: all
  std::unique_ptr<BeamPass> pass_;
  uint64_t pass_seed_ = 0;
  ScratchPool<BeamScratch> scratches_;
};

}  // namespace

absl::StatusOr<AdditiveCode> SolveAdditive(const AdditiveProblem& problem, Executor& executor,
                                           const CancelToken& cancel, SolveWatch* watch) {
  SilentWatch silent;
  return Alternation(problem, executor, cancel, watch != nullptr ? watch : &silent).Run();
}

}  // namespace quantd
