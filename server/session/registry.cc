#include "server/session/registry.h"

#include <utility>

#include "absl/status/status.h"

namespace quantd {

SessionRegistry::SessionRegistry(SessionDeps deps, const SessionOptions& options)
    : deps_(std::move(deps)), options_(options) {}

SessionRegistry::~SessionRegistry() = default;

std::shared_ptr<Session> SessionRegistry::Create(CallInfo info, SessionCallbacks callbacks) {
  std::shared_ptr<Session> session = Session::Create(
      &deps_, options_, std::move(info), std::move(callbacks), [this](Session* closed) {
        std::shared_ptr<Session> last;  // let go of outside the lock
        absl::MutexLock lock(&mutex_);
        const auto it = sessions_.find(closed);
        last = std::move(it->second);
        sessions_.erase(it);
      });
  absl::MutexLock lock(&mutex_);
  sessions_.emplace(session.get(), session);
  return session;
}

std::vector<std::shared_ptr<Session>> SessionRegistry::Snapshot() const {
  std::vector<std::shared_ptr<Session>> sessions;
  absl::MutexLock lock(&mutex_);
  sessions.reserve(sessions_.size());
  for (const auto& [key, session] : sessions_) sessions.push_back(session);
  return sessions;
}

void SessionRegistry::Tick() {
  deps_.admission->Tick();
  std::vector<LiveJob> live;
  for (const std::shared_ptr<Session>& session : Snapshot()) {
    session->Tick();
    if (std::optional<LiveJob> job = session->Live()) live.push_back(*std::move(job));
  }
  deps_.events->OnLive(live);
}

int64_t SessionRegistry::live() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int64_t>(sessions_.size());
}

void SessionRegistry::BeginDrain() const {
  deps_.events->OnDrain();
  deps_.admission->Drain();
}

void SessionRegistry::StopAll() {
  for (const std::shared_ptr<Session>& session : Snapshot()) {
    session->Stop(absl::UnavailableError("the server is going down; send the job again elsewhere"),
                  0);
  }
}

bool SessionRegistry::WaitUntilEmpty(absl::Time deadline) const {
  absl::MutexLock lock(&mutex_);
  const auto empty = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return sessions_.empty(); };
  return mutex_.AwaitWithDeadline(absl::Condition(&empty), deadline);
}

bool SessionRegistry::DrainAndWait(absl::Time deadline, absl::Duration grace) {
  BeginDrain();
  if (WaitUntilEmpty(deadline)) return true;
  StopAll();
  WaitUntilEmpty(absl::Now() + grace);
  return false;
}

}  // namespace quantd
