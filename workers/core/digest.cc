#include "workers/core/digest.h"

#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "xxhash.h"
#if defined(__x86_64__)
// Same digests, with the widest registers this CPU has; the plain entry points run on SSE2.
#include "xxh_x86dispatch.h"
#endif

namespace quantd {
namespace {

Digest Canonical(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  Digest d;
  static_assert(sizeof(canonical.digest) == 16);
  std::memcpy(d.bytes.data(), canonical.digest, 16);
  return d;
}

}  // namespace

std::string Digest::Hex() const {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::optional<Digest> Digest::FromHex(absl::string_view hex) {
  if (hex.size() != 32) return std::nullopt;
  for (char c : hex) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return std::nullopt;
  }
  const std::string raw = absl::HexStringToBytes(hex);
  Digest d;
  std::memcpy(d.bytes.data(), raw.data(), 16);
  return d;
}

Digest DigestOf(absl::Span<const std::byte> bytes) {
  return Canonical(XXH3_128bits(bytes.data(), bytes.size()));
}

struct DigestStream::State {
  XXH3_state_t* xxh = XXH3_createState();
  State() { XXH3_128bits_reset(xxh); }
  ~State() { XXH3_freeState(xxh); }
};

DigestStream::DigestStream() : state_(std::make_unique<State>()) {}
DigestStream::~DigestStream() = default;
DigestStream::DigestStream(DigestStream&&) noexcept = default;
DigestStream& DigestStream::operator=(DigestStream&&) noexcept = default;

void DigestStream::Add(absl::Span<const std::byte> bytes) {
  XXH3_128bits_update(state_->xxh, bytes.data(), bytes.size());
}

Digest DigestStream::Finish() const { return Canonical(XXH3_128bits_digest(state_->xxh)); }

}  // namespace quantd
