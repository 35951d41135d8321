// One stream of events for two listeners.
#pragma once

#include <string>
#include <vector>

#include "workers/core/events.h"

namespace quantd {

// Both outlive the tee and are told everything, the first one first.
class EventTee : public EventSink {
 public:
  EventTee(EventSink* first, EventSink* second) : sinks_{first, second} {}

  void OnReject(RejectReason reason, const std::string& method) override {
    for (EventSink* sink : sinks_) sink->OnReject(reason, method);
  }
  void OnJobDone(const JobEvent& event) override {
    for (EventSink* sink : sinks_) sink->OnJobDone(event);
  }
  void OnQueue(int64_t waiting_jobs, uint64_t waiting_bytes) override {
    for (EventSink* sink : sinks_) sink->OnQueue(waiting_jobs, waiting_bytes);
  }
  void OnBudget(uint64_t reserved_bytes, uint64_t budget_bytes) override {
    for (EventSink* sink : sinks_) sink->OnBudget(reserved_bytes, budget_bytes);
  }
  void OnPool(int busy_threads, int threads) override {
    for (EventSink* sink : sinks_) sink->OnPool(busy_threads, threads);
  }
  void OnLive(const std::vector<LiveJob>& jobs) override {
    for (EventSink* sink : sinks_) sink->OnLive(jobs);
  }
  void OnDrain() override {
    for (EventSink* sink : sinks_) sink->OnDrain();
  }
  void OnCertificate(absl::Time not_after) override {
    for (EventSink* sink : sinks_) sink->OnCertificate(not_after);
  }

 private:
  EventSink* const sinks_[2];
};

}  // namespace quantd
