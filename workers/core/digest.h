// Content digests of tensors: XXH3, 128 bits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd {

// Canonical (big-endian) byte form of XXH3-128 with seed 0. Detects damage and tells contents
// apart; it is no defence against someone who forges collisions.
struct Digest {
  std::array<uint8_t, 16> bytes{};

  friend bool operator==(const Digest& a, const Digest& b) { return a.bytes == b.bytes; }
  friend bool operator!=(const Digest& a, const Digest& b) { return !(a == b); }
  friend bool operator<(const Digest& a, const Digest& b) { return a.bytes < b.bytes; }

  // 32 lower-case hex digits.
  std::string Hex() const;
  static std::optional<Digest> FromHex(absl::string_view hex);
};

Digest DigestOf(absl::Span<const std::byte> bytes);

// The same digest, fed piece by piece in order.
class DigestStream {
 public:
  DigestStream();
  ~DigestStream();
  DigestStream(DigestStream&&) noexcept;
  DigestStream& operator=(DigestStream&&) noexcept;

  void Add(absl::Span<const std::byte> bytes);
  Digest Finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quantd
