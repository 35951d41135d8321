#include "client/lib/submitter.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace quantd::client {

struct Submitter::Shared {
  const int count;
  const TryJob& try_job;
  const TakeAnswer& take;
  const OnRetry& on_retry;
  StopSource stop;  // this run's own: ends it on the first final error
  std::atomic<int> next{0};
  absl::Mutex mutex;
  absl::Status first_error ABSL_GUARDED_BY(mutex);
  std::optional<int> failed_job ABSL_GUARDED_BY(mutex);  // whose it is
};

Submitter::Submitter(Connection* connection, SubmitOptions options, StopSource* stop)
    : connection_(connection), options_(options), stop_(stop) {}

absl::Status Submitter::Run(int count, const TryJob& try_job, const TakeAnswer& take,
                            const OnRetry& on_retry) {
  Shared shared{count, try_job, take, on_retry};
  StopRegistration chain(stop_, [&shared] { shared.stop.Stop(); });
  std::vector<std::thread> threads;
  const int width = std::max(1, std::min(options_.jobs, count));
  threads.reserve(width);
  for (int t = 0; t < width; ++t) threads.emplace_back([this, &shared] { Work(&shared); });
  for (std::thread& thread : threads) thread.join();
  if (stop_->stopped()) return absl::CancelledError("stopped");
  absl::MutexLock lock(&shared.mutex);
  failed_job_ = shared.failed_job;
  return shared.first_error;
}

void Submitter::Work(Shared* shared) {
  while (!shared->stop.stopped()) {
    const int index = shared->next.fetch_add(1);
    if (index >= shared->count) return;
    absl::Status status = RunOne(shared, index);
    if (status.ok()) continue;
    {
      absl::MutexLock lock(&shared->mutex);
      // What the others report once they are being cancelled is a consequence, not the cause.
      if (shared->first_error.ok()) {
        shared->first_error = std::move(status);
        shared->failed_job = index;
      }
    }
    shared->stop.Stop();
    return;
  }
}

absl::Status Submitter::RunOne(Shared* shared, int index) {
  std::minstd_rand random(std::random_device{}());
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  RetryState retry(options_.retry, [&] { return uniform(random); });
  while (true) {
    JobClient client(connection_->channel(), &shared->stop);
    Attempt attempt = shared->try_job(index, retry.attempts() + 1, &client);
    if (attempt.failure.status.ok()) {
      absl::MutexLock lock(&shared->mutex);
      if (!shared->first_error.ok()) return shared->first_error;
      return shared->take(index, std::move(attempt.answer));
    }
    if (shared->stop.stopped()) return attempt.failure.status;
    const std::optional<absl::Duration> delay = retry.Next(attempt.failure);
    if (!delay) return attempt.failure.status;
    shared->on_retry(index, attempt.failure, *delay);
    if (shared->stop.WaitFor(*delay)) return attempt.failure.status;
  }
}

}  // namespace quantd::client
