// Numbers in a row of bytes, little-endian: the states that a solve is taken up from.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quantd {

class StateWriter {
 public:
  // Room for so many bytes more, so that they need not move.
  void Reserve(uint64_t bytes) { bytes_.reserve(bytes_.size() + bytes); }
  template <typename T>
  void Number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <typename T>
  void Numbers(const std::vector<T>& values) {
    static_assert(std::is_arithmetic_v<T>);
    Number<uint64_t>(values.size());
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Bytes may come from outside: every call checks what is left and returns INVALID_ARGUMENT when it
// is not enough.
class StateReader {
 public:
  explicit StateReader(absl::string_view bytes) : left_(bytes) {}

  template <typename T>
  absl::Status Number(T* value) {
    static_assert(std::is_arithmetic_v<T>);
    return Copy(value, sizeof *value);
  }
  // Exactly `count` of them.
  template <typename T>
  absl::Status Numbers(uint64_t count, std::vector<T>* values) {
    static_assert(std::is_arithmetic_v<T>);
    uint64_t have = 0;
    if (absl::Status s = Number(&have); !s.ok()) return s;
    if (have != count || have > left_.size() / sizeof(T)) return Short();
    values->resize(count);
    return Copy(values->data(), count * sizeof(T));
  }
  // INVALID_ARGUMENT unless everything was read.
  absl::Status End() const;

 private:
  absl::Status Copy(void* to, uint64_t bytes);
  static absl::Status Short();

  absl::string_view left_;
};

}  // namespace quantd
