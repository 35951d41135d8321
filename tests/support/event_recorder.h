// An EventSink that remembers everything it was told.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "workers/core/events.h"

namespace quantd::testing {

class EventRecorder : public EventSink {
 public:
  using Reject = std::pair<RejectReason, std::string>;

  void OnReject(RejectReason reason, const std::string& method) override {
    absl::MutexLock lock(&mutex_);
    rejects_.emplace_back(reason, method);
  }
  void OnJobDone(const JobEvent& event) override {
    absl::MutexLock lock(&mutex_);
    jobs_.push_back(event);
  }
  void OnQueue(int64_t waiting_jobs, uint64_t waiting_bytes) override {
    absl::MutexLock lock(&mutex_);
    waiting_jobs_ = waiting_jobs;
    waiting_bytes_ = waiting_bytes;
  }
  void OnBudget(uint64_t reserved_bytes, uint64_t budget_bytes) override {
    absl::MutexLock lock(&mutex_);
    reserved_bytes_ = reserved_bytes;
    budget_bytes_ = budget_bytes;
  }
  void OnPool(int busy_threads, int threads) override {
    absl::MutexLock lock(&mutex_);
    busy_.push_back(busy_threads);
    threads_ = threads;
  }

  void OnLive(const std::vector<LiveJob>& jobs) override {
    absl::MutexLock lock(&mutex_);
    live_ = jobs;
  }
  void OnDrain() override {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
  }
  void OnCertificate(absl::Time not_after) override {
    absl::MutexLock lock(&mutex_);
    certificates_.push_back(not_after);
  }

  std::vector<Reject> rejects() const { return Read(rejects_); }
  std::vector<JobEvent> jobs() const { return Read(jobs_); }
  std::vector<int> busy() const { return Read(busy_); }
  std::vector<LiveJob> live() const { return Read(live_); }
  bool draining() const { return Read(draining_); }
  std::vector<absl::Time> certificates() const { return Read(certificates_); }
  int threads() const { return Read(threads_); }
  int64_t waiting_jobs() const { return Read(waiting_jobs_); }
  uint64_t waiting_bytes() const { return Read(waiting_bytes_); }
  uint64_t reserved_bytes() const { return Read(reserved_bytes_); }
  uint64_t budget_bytes() const { return Read(budget_bytes_); }

 private:
  template <typename T>
  T Read(const T& value) const {
    absl::MutexLock lock(&mutex_);
    return value;
  }

  mutable absl::Mutex mutex_;
  std::vector<Reject> rejects_;
  std::vector<JobEvent> jobs_;
  std::vector<int> busy_;
  std::vector<LiveJob> live_;
  bool draining_ = false;
  std::vector<absl::Time> certificates_;
  int threads_ = 0;
  int64_t waiting_jobs_ = 0;
  uint64_t waiting_bytes_ = 0;
  uint64_t reserved_bytes_ = 0;
  uint64_t budget_bytes_ = 0;
};

}  // namespace quantd::testing
