#include "workers/planner/knapsack_core.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <tuple>
#include <utility>

namespace quantd {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr uint32_t kRoot = std::numeric_limits<uint32_t>::max();
constexpr int kStay = -1;  // no move: the class keeps its base option

// States that are looked at between two looks at the cancel token: tens of microseconds.
constexpr uint64_t kPollEvery = 4096;

// States that are looked at for each one that may be kept, so that the limit bounds time as well:
// classes of thousands of options, or bounds that hardly ever hold, would take minutes.
constexpr uint64_t kLooksPerState = 64;

// An option other than the base's. Its penalty is what it costs beyond the relaxed price of its
// growth: (cost - base cost) + lambda growth, never negative.
struct Move {
  double growth = 0;  // size beyond the base option's
  double penalty = 0;
  int position = 0;
};

bool operator==(const Move& a, const Move& b) {
  return std::tie(a.growth, a.penalty) == std::tie(b.growth, b.penalty);
}
bool operator<(const Move& a, const Move& b) {
  return std::tie(a.growth, a.penalty) < std::tie(b.growth, b.penalty);
}

struct CoreClass {
  int index = 0;
  size_t begin = 0, end = 0;  // its moves
  double gradient = 0;        // least penalty per unit of size
  double least_penalty = 0;   // above 0; infinite if no move has one
  bool ties = false;          // a move without penalty
  int rank = 0;               // among the classes with the very same moves
};

// A choice for the classes so far, as the difference to their base options.
struct State {
  double growth = 0;
  double penalty = 0;
  uint32_t node = kRoot;  // what led to it
  int move = kStay;       // of the class under way
};

struct Node {
  uint32_t parent = kRoot;
  int at = 0;  // class
  int position = 0;
};

// Least penalty per unit of size that the classes to come ask for going up or down; infinite if
// none of them can.
struct Reach {
  double up = kInfinity;
  double down = kInfinity;
};

class CoreSearch {
 public:
  CoreSearch(const UndominatedOptions& options, const Relaxation& relaxation, double tolerance,
             const KnapsackLimits& limits);

  // False when the states run out, or the token is set.
  bool Run();

  std::vector<int> Choice() const;
  // Above the relaxed cost: of the best solution, and what none can be below after Run() failed.
  double gap() const { return best_change_ + lambda_ * relaxation_.slack; }
  double Floor() const;
  // Of the limit, used up so far: by those kept or by those looked at.
  uint64_t states() const {
    return std::min(states_, std::max(states_ - states_left_, looked_at_ / kLooksPerState));
  }

 private:
  double Change(const State& state) const { return state.penalty - lambda_ * state.growth; }
  bool Useful(double penalty) const { return penalty <= gap() + tolerance_; }
  void AppendClass(int index);
  void SortClasses();
  void UpdateReach();
  double TieCap() const;
  bool CanMove(const CoreClass& at) const;
  double Bound(const State& state, const Reach& reach) const;
  void Offer(const State& state);
  bool Merge(const Move& move, const Reach& after);
  bool Step();
  void Remember(const CoreClass& at);

  const UndominatedOptions& options_;
  const Relaxation& relaxation_;
  const double lambda_;
  const double tolerance_;
  const KnapsackLimits& limits_;
  std::vector<Move> moves_;
  std::vector<CoreClass> classes_;  // in the order of their gradients
  std::vector<Reach> reach_;        // by stage: of that class and those after it
  double reach_gap_ = 0;            // gap() that reach_ and tie_cap_ were made for
  double tie_cap_ = kInfinity;

  std::vector<State> list_;    // of the classes before stage_; growth rising, change falling
  std::vector<State> merged_;  // of stage_, while it is made
  std::vector<State> spare_;
  std::vector<Node> nodes_;
  size_t stage_ = 0;
  const uint64_t states_;
  uint64_t states_left_;
  const uint64_t most_looks_;
  uint64_t looked_at_ = 0;  // states, dropped ones too

  // The best solution: the greedy one, or a state followed by base options.
  double best_change_ = 0;
  double best_growth_ = 0;
  bool best_is_filled_ = true;
  State best_;
  int best_class_ = 0;  // that best_.move belongs to
};

CoreSearch::CoreSearch(const UndominatedOptions& options, const Relaxation& relaxation,
                       double tolerance, const KnapsackLimits& limits)
    : options_(options),
      relaxation_(relaxation),
      lambda_(relaxation.multiplier),
      tolerance_(tolerance),
      limits_(limits),
      states_(std::min<uint64_t>(limits.max_states, kRoot - 1)),
      states_left_(states_),
      most_looks_(kLooksPerState * states_) {
  for (int c = 0; c < options.classes(); ++c) {
    const UndominatedOption& base = options.of(c)[relaxation.base[c]];
    const UndominatedOption& filled = options.of(c)[relaxation.filled[c]];
    best_change_ += filled.cost - base.cost;
    best_growth_ += filled.size - base.size;
  }
  for (int c = 0; c < options.classes() && !limits.stopped(); ++c) AppendClass(c);
  SortClasses();
  UpdateReach();
}

void CoreSearch::AppendClass(int index) {
  const absl::Span<const UndominatedOption> of = options_.of(index);
  const UndominatedOption& base = of[relaxation_.base[index]];
  CoreClass at;
  at.index = index;
  at.begin = moves_.size();
  at.gradient = at.least_penalty = kInfinity;
  for (int i = 0; i < static_cast<int>(of.size()); ++i) {
    if (i == relaxation_.base[index]) continue;
    const double growth = of[i].size - base.size, cost = of[i].cost - base.cost;
    double penalty = cost + lambda_ * growth;
    // On the line through the break it is 0, but for rounding.
    if (penalty <= 4 * std::numeric_limits<double>::epsilon() * std::abs(cost)) penalty = 0;
    if (!Useful(penalty)) continue;
    moves_.push_back({growth, penalty, i});
    at.gradient = std::min(at.gradient, penalty / std::abs(growth));
    if (penalty > 0) at.least_penalty = std::min(at.least_penalty, penalty);
    at.ties |= penalty == 0;
  }
  at.end = moves_.size();
  if (at.end > at.begin) classes_.push_back(at);
}

void CoreSearch::SortClasses() {
  const auto moves = [this](const CoreClass& c) {
    return absl::MakeConstSpan(moves_).subspan(c.begin, c.end - c.begin);
  };
  std::sort(classes_.begin(), classes_.end(), [&](const CoreClass& a, const CoreClass& b) {
    if (a.gradient != b.gradient) return a.gradient < b.gradient;
    if (moves(a) != moves(b)) return moves(a) < moves(b);
    return a.index < b.index;
  });
  for (size_t i = 1; i < classes_.size(); ++i) {
    if (moves(classes_[i]) == moves(classes_[i - 1])) classes_[i].rank = classes_[i - 1].rank + 1;
  }
}

void CoreSearch::UpdateReach() {
  reach_.assign(classes_.size() + 1, Reach());
  for (size_t i = classes_.size(); i-- > stage_;) {
    Reach reach = reach_[i + 1];
    for (size_t m = classes_[i].begin; m < classes_[i].end; ++m) {
      const Move& move = moves_[m];
      if (!Useful(move.penalty)) continue;
      double& least = move.growth > 0 ? reach.up : reach.down;
      least = std::min(least, move.penalty / std::abs(move.growth));
    }
    reach_[i] = reach;
  }
  reach_gap_ = gap();
  tie_cap_ = TieCap();
}

// How many moves without penalty a better solution can need. When all of them are steps of one
// size, up and down cancel, and the rest only has to make up for what moves with a penalty add.
double CoreSearch::TieCap() const {
  double step = 0, gradient = lambda_;
  for (const Move& move : moves_) {
    const double length = std::abs(move.growth);
    if (move.penalty > 0) {
      gradient = std::min(gradient, move.penalty / length);
    } else if (step == 0 || step == length) {
      step = length;
    } else {
      return kInfinity;
    }
  }
  return step == 0 ? 0 : std::ceil((relaxation_.slack + gap() / gradient) / step) + 1;
}

// Of classes with the same moves it is the first ones that move: as many as their penalties leave.
bool CoreSearch::CanMove(const CoreClass& at) const {
  const double rank = at.rank - (at.ties ? tie_cap_ : 0);
  if (rank < 0) return true;
  return at.least_penalty < kInfinity && Useful((rank + 1) * at.least_penalty);
}

// What a solution that goes on from `state` costs at least, above the relaxed cost.
double CoreSearch::Bound(const State& state, const Reach& reach) const {
  const double room = relaxation_.slack - state.growth;
  return state.penalty + (room >= 0 ? std::min(lambda_, reach.up) * room : reach.down * -room);
}

// Base options from here on: a solution, if it fits.
void CoreSearch::Offer(const State& state) {
  if (state.growth > relaxation_.slack) return;
  const double change = Change(state);
  const bool better = change < best_change_ - tolerance_;
  const bool smaller = change <= best_change_ + tolerance_ && state.growth < best_growth_;
  if (!better && !smaller) return;
  best_change_ = change;
  best_growth_ = state.growth;
  best_is_filled_ = false;
  best_ = state;
  best_class_ = classes_[stage_].index;
}

// Adds list_, with `move` made in each state, to merged_; drops what is dominated or cannot lead to
// a better solution. False when there is no room or no time, or the token is set.
bool CoreSearch::Merge(const Move& move, const Reach& after) {
  spare_.clear();
  double least = kInfinity;
  size_t i = 0, j = 0;
  while (i < merged_.size() || j < list_.size()) {
    if (++looked_at_ % kPollEvery == 0 && (limits_.stopped() || looked_at_ > most_looks_)) {
      return false;
    }
    State state;
    if (j < list_.size()) {
      state = list_[j];
      state.growth += move.growth;
      state.penalty += move.penalty;
      state.move = move.position;
    }
    if (i < merged_.size() &&
        (j == list_.size() || std::tie(merged_[i].growth, merged_[i].penalty) <=
                                  std::tie(state.growth, state.penalty))) {
      state = merged_[i++];
    } else {
      ++j;
    }
    const double change = Change(state);
    if (change >= least) continue;
    least = change;
    Offer(state);
    if (!Useful(Bound(state, after))) continue;
    if (spare_.size() >= states_left_) return false;
    spare_.push_back(state);
  }
  std::swap(merged_, spare_);
  return true;
}

// Turns list_ from the states before the class of stage_ into those after it.
bool CoreSearch::Step() {
  const CoreClass& at = classes_[stage_];
  if (!CanMove(at)) return true;
  merged_ = list_;
  for (size_t m = at.begin; m < at.end; ++m) {
    if (Useful(moves_[m].penalty) && !Merge(moves_[m], reach_[stage_ + 1])) return false;
  }
  states_left_ -= std::min<uint64_t>(states_left_, merged_.size());
  std::swap(list_, merged_);
  Remember(at);
  return true;
}

void CoreSearch::Remember(const CoreClass& at) {
  for (State& state : list_) {
    if (state.move == kStay) continue;
    nodes_.push_back({state.node, at.index, state.move});
    state.node = static_cast<uint32_t>(nodes_.size() - 1);
    state.move = kStay;
  }
}

bool CoreSearch::Run() {
  list_.assign(1, State());
  for (; stage_ < classes_.size() && !list_.empty() && gap() > tolerance_; ++stage_) {
    if (gap() < 0.5 * reach_gap_) UpdateReach();
    if (limits_.stopped() || !Step()) return false;
  }
  return true;
}

double CoreSearch::Floor() const {
  double least = gap();
  for (const State& state : list_) least = std::min(least, Bound(state, reach_[stage_]));
  return least;
}

std::vector<int> CoreSearch::Choice() const {
  if (best_is_filled_) return relaxation_.filled;
  std::vector<int> choice = relaxation_.base;
  if (best_.move != kStay) choice[best_class_] = best_.move;
  for (uint32_t n = best_.node; n != kRoot; n = nodes_[n].parent) {
    choice[nodes_[n].at] = nodes_[n].position;
  }
  return choice;
}

}  // namespace

CoreResult SearchCore(const UndominatedOptions& options, const Relaxation& relaxation,
                      double tolerance, const KnapsackLimits& limits) {
  CoreSearch search(options, relaxation, tolerance, limits);
  CoreResult result;
  result.finished = search.Run();
  result.choice = search.Choice();
  result.states = result.finished ? search.states() : limits.max_states;
  if (!result.finished) {
    const double relaxed = relaxation.base_cost - relaxation.multiplier * relaxation.slack;
    result.bound = relaxed + search.Floor();
  }
  return result;
}

}  // namespace quantd
