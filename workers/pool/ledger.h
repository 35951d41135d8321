// The byte ledger: what admitted jobs may use, all together.
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace quantd {

class ByteLedger {
 public:
  explicit ByteLedger(uint64_t budget_bytes) : budget_(budget_bytes) {}

  // A share of the budget, given back when the object dies.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& o) noexcept : ledger_(o.ledger_), bytes_(o.bytes_) {
      o.ledger_ = nullptr;
    }
    Reservation& operator=(Reservation&& o) noexcept {
      if (this != &o) {
        Release();
        ledger_ = o.ledger_;
        bytes_ = o.bytes_;
        o.ledger_ = nullptr;
      }
      return *this;
    }
    ~Reservation() { Release(); }
    void Release() {
      if (ledger_ != nullptr) ledger_->Give(bytes_);
      ledger_ = nullptr;
    }
    bool held() const { return ledger_ != nullptr; }
    uint64_t bytes() const { return held() ? bytes_ : 0; }

   private:
    friend class ByteLedger;
    Reservation(ByteLedger* ledger, uint64_t bytes) : ledger_(ledger), bytes_(bytes) {}
    ByteLedger* ledger_ = nullptr;
    uint64_t bytes_ = 0;
  };

  // Holds `bytes`, or nothing (held() is false) when they do not fit now.
  Reservation TryReserve(uint64_t bytes) {
    absl::MutexLock lock(&mutex_);
    if (bytes > budget_ - reserved_) return Reservation();
    reserved_ += bytes;
    return Reservation(this, bytes);
  }

  uint64_t budget() const { return budget_; }
  uint64_t reserved() const {
    absl::MutexLock lock(&mutex_);
    return reserved_;
  }

 private:
  void Give(uint64_t bytes) {
    absl::MutexLock lock(&mutex_);
    reserved_ -= bytes;
  }

  const uint64_t budget_;
  mutable absl::Mutex mutex_;
  uint64_t reserved_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace quantd
