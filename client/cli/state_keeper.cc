#include "client/cli/state_keeper.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace quantd::cli {
namespace {

// Every message about it has this word: it is the tensor's name, too.
constexpr char kCheckpoint[] = "CHECKPOINT";

}  // namespace

StateKeeper::StateKeeper(const std::string& out_dir, ProgressDisplay* display)
    : work_(out_dir), display_(display) {}

std::optional<StoredState> StateKeeper::Newest(absl::Span<const int> modules,
                                               const std::string& name) {
  absl::StatusOr<StoredState> state = work_.OpenState(modules);
  if (state.ok()) return *std::move(state);
  if (!absl::IsNotFound(state.status())) {
    display_->Say(absl::StrCat(name, ": begins anew, its stored state cannot be used: ",
                               std::string(state.status().message())));
    Drop(modules);
  }
  return std::nullopt;
}

bool StateKeeper::Keep(absl::Span<const int> modules, const std::string& name,
                       const std::string& state) {
  const absl::Status status = work_.PutState(modules, state);
  if (status.ok()) return true;
  if (failure_told_.exchange(true)) return false;
  display_->Say(absl::StrCat(name, ": its state cannot be stored, so a crash would cost its work: ",
                             std::string(status.message())));
  return false;
}

void StateKeeper::Drop(absl::Span<const int> modules) {
  // What stays is of no use to any later request, and goes when the folder is finished.
  work_.RemoveState(modules.front()).IgnoreError();
}

void AddCheckpoint(const StoredState& state, GroupRequest* request) {
  TensorDecl decl;
  decl.name = kCheckpoint;
  decl.role = Role::kCheckpoint;
  decl.dtype = DType::kU8;
  decl.shape = {static_cast<int64_t>(state.bytes.size())};
  decl.digest = state.digest;
  request->job.tensors.push_back(std::move(decl));
  request->bytes.push_back(state.bytes);
}

bool RefusesCheckpoint(const client::AttemptFailure& failure) {
  switch (failure.status.code()) {
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument:
      return absl::StrContains(failure.status.message(), kCheckpoint);
    case absl::StatusCode::kResourceExhausted:
      return failure.pushback && *failure.pushback < absl::ZeroDuration();
    default:
      return false;
  }
}

GroupObserver::GroupObserver(int index, client::JobSize size, absl::Span<const int> modules,
                             std::string name, const client::RunListeners* listeners,
                             StateKeeper* keeper)
    : index_(index),
      size_(size),
      modules_(modules),
      name_(std::move(name)),
      listeners_(listeners),
      keeper_(keeper) {}

GroupObserver::~GroupObserver() { listeners_->Tell(&client::RunListener::Over, index_); }

void GroupObserver::OnProgress(const wire::ProgressFrame& frame) {
  if (frame.phase != Phase::kSolving) return;
  listeners_->Tell(&client::RunListener::Solving, index_, size_, frame);
}

bool GroupObserver::OnState(std::string state) { return keeper_->Keep(modules_, name_, state); }

}  // namespace quantd::cli
