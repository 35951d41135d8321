// Tells the thread sanitizer what Debian's uninstrumented Abseil does.
//
// The sanitizer sees neither absl::Mutex's atomics nor its futexes, so every guarded member looks
// racy. Under the tsan preset each test is linked with --wrap for the functions below (the list is
// in cmake/QuantdTargets.cmake): a wrapper calls the real function and states the order that it
// creates. What remains unguarded is still reported: nothing here hides an access.
#include "absl/base/config.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

// While Abseil holds a mutex it may evaluate the waiters' conditions in any thread; those reads are
// ordered by the mutex, in a way that the sanitizer cannot see.
class IgnoreConditionReads {
 public:
  IgnoreConditionReads() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~IgnoreConditionReads() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

template <typename T>
void* Address(const T* object) {
  return const_cast<T*>(object);
}

}  // namespace

using absl::BlockingCounter;
using absl::Condition;
using absl::CondVar;
using absl::Duration;
using absl::Mutex;
using absl::Notification;
using absl::Time;

// Takes the mutex: what happened before its last release is visible now.
#define QUANTD_WRAP_ACQUIRE(symbol, parameters, arguments) \
  extern "C" void __real_##symbol parameters;              \
  extern "C" void __wrap_##symbol parameters {             \
    {                                                      \
      IgnoreConditionReads ignore;                         \
      __real_##symbol arguments;                           \
    }                                                      \
    __tsan_acquire(Address(self));                         \
  }

#define QUANTD_WRAP_RELEASE(symbol, parameters, arguments) \
  extern "C" void __real_##symbol parameters;              \
  extern "C" void __wrap_##symbol parameters {             \
    __tsan_release(Address(self));                         \
    IgnoreConditionReads ignore;                           \
    __real_##symbol arguments;                             \
  }

// Gives the mutex back for a while and takes it again.
#define QUANTD_WRAP_WAIT(result, symbol, mutex, parameters, arguments) \
  extern "C" result __real_##symbol parameters;                        \
  extern "C" result __wrap_##symbol parameters {                       \
    struct Reacquire {                                                 \
      const Mutex* held;                                               \
      ~Reacquire() { __tsan_acquire(Address(held)); }                  \
    } reacquire{mutex};                                                \
    __tsan_release(Address(mutex));                                    \
    IgnoreConditionReads ignore;                                       \
    return __real_##symbol arguments;                                  \
  }

// Takes the mutex or reports that it did not.
#define QUANTD_WRAP_TRY(symbol)                  \
  extern "C" bool __real_##symbol(Mutex* self);  \
  extern "C" bool __wrap_##symbol(Mutex* self) { \
    const bool taken = __real_##symbol(self);    \
    if (taken) __tsan_acquire(Address(self));    \
    return taken;                                \
  }

QUANTD_WRAP_ACQUIRE(_ZN4absl7debian35Mutex4LockEv, (Mutex * self), (self))
QUANTD_WRAP_ACQUIRE(_ZN4absl7debian35Mutex10ReaderLockEv, (Mutex * self), (self))
QUANTD_WRAP_ACQUIRE(_ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE,
                    (Mutex * self, const Condition& condition), (self, condition))
QUANTD_WRAP_RELEASE(_ZN4absl7debian35Mutex6UnlockEv, (Mutex * self), (self))
QUANTD_WRAP_RELEASE(_ZN4absl7debian35Mutex12ReaderUnlockEv, (Mutex * self), (self))
QUANTD_WRAP_TRY(_ZN4absl7debian35Mutex7TryLockEv)
QUANTD_WRAP_TRY(_ZN4absl7debian35Mutex13ReaderTryLockEv)

QUANTD_WRAP_WAIT(void, _ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE, self,
                 (Mutex * self, const Condition& condition), (self, condition))
QUANTD_WRAP_WAIT(bool, _ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE,
                 self, (Mutex * self, const Condition& condition, Duration timeout),
                 (self, condition, timeout))
QUANTD_WRAP_WAIT(bool, _ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE, self,
                 (Mutex * self, const Condition& condition, Time deadline),
                 (self, condition, deadline))
QUANTD_WRAP_WAIT(bool, _ZN4absl7debian35Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE,
                 self, (Mutex * self, const Condition& condition, Duration timeout),
                 (self, condition, timeout))
QUANTD_WRAP_WAIT(bool, _ZN4absl7debian35Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE,
                 self, (Mutex * self, const Condition& condition, Time deadline),
                 (self, condition, deadline))
QUANTD_WRAP_WAIT(void, _ZN4absl7debian37CondVar4WaitEPNS0_5MutexE, mutex,
                 (CondVar * self, Mutex* mutex), (self, mutex))
QUANTD_WRAP_WAIT(bool, _ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE, mutex,
                 (CondVar * self, Mutex* mutex, Duration timeout), (self, mutex, timeout))
QUANTD_WRAP_WAIT(bool, _ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE, mutex,
                 (CondVar * self, Mutex* mutex, Time deadline), (self, mutex, deadline))

QUANTD_WRAP_RELEASE(_ZN4absl7debian312Notification6NotifyEv, (Notification * self), (self))
QUANTD_WRAP_ACQUIRE(_ZNK4absl7debian312Notification19WaitForNotificationEv,
                    (const Notification* self), (self))
QUANTD_WRAP_ACQUIRE(_ZN4absl7debian315BlockingCounter4WaitEv, (BlockingCounter * self), (self))

// Only a notification that came orders anything.
extern "C" bool
__real__ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE(
    const Notification* self, Duration timeout);
extern "C" bool
__wrap__ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE(
    const Notification* self, Duration timeout) {
  const bool notified =
      __real__ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE(
          self, timeout);
  if (notified) __tsan_acquire(Address(self));
  return notified;
}

extern "C" bool __real__ZN4absl7debian315BlockingCounter14DecrementCountEv(BlockingCounter* self);
extern "C" bool __wrap__ZN4absl7debian315BlockingCounter14DecrementCountEv(BlockingCounter* self) {
  __tsan_release(Address(self));
  return __real__ZN4absl7debian315BlockingCounter14DecrementCountEv(self);
}
