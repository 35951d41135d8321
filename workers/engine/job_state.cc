#include "workers/engine/job_state.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/spec_fields.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr absl::string_view kMagic = "QDJS";
// Raised whenever a solve that goes on from a state of before would end in other bytes than one of
// now from the start.
constexpr uint32_t kVersion = 1;
constexpr size_t kDigestBytes = sizeof(Digest::bytes);

absl::Span<const std::byte> BytesOf(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

absl::string_view TextOf(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

absl::Status Damaged(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("CHECKPOINT is damaged: ", what));
}

// Texts and numbers into a digest, so that no two lists of them feed the same bytes.
class RequestHash {
 public:
  template <typename T>
  void Number(T value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    stream_.Add(BytesOf({bytes, sizeof value}));
  }
  void Text(absl::string_view text) {
    Number<uint64_t>(text.size());
    stream_.Add(BytesOf(text));
  }
  Digest Finish() const { return stream_.Finish(); }

 private:
  DigestStream stream_;
};

// Takes `count` bytes off the front of `left`.
std::optional<absl::string_view> TakeBytes(absl::string_view* left, uint64_t count) {
  if (count > left->size()) return std::nullopt;
  const absl::string_view taken = left->substr(0, count);
  left->remove_prefix(count);
  return taken;
}

template <typename T>
bool TakeNumber(absl::string_view* left, T* value) {
  const std::optional<absl::string_view> bytes = TakeBytes(left, sizeof *value);
  if (bytes.has_value()) std::memcpy(value, bytes->data(), sizeof *value);
  return bytes.has_value();
}

template <typename T>
void AppendNumber(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

Digest RequestDigest(const QuantizeJob& job, absl::Span<const Digest> digests) {
  RequestHash hash;
  hash.Text(QUANTD_VERSION);
  hash.Text(job.spec.method);
  for (const SpecField& field : SpecFields()) {
    hash.Text(field.path);
    hash.Number(field.get(job.spec));
  }
  for (size_t i = 0; i < job.tensors.size(); ++i) {
    const TensorDecl& t = job.tensors[i];
    if (t.role == Role::kCheckpoint) continue;
    hash.Text(t.name);
    hash.Text(t.of);
    hash.Number(t.role);
    hash.Number(t.dtype);
    hash.Number<uint64_t>(t.shape.size());
    for (const int64_t d : t.shape) hash.Number(d);
    hash.Text(TextOf(digests[i]));
  }
  return hash.Finish();
}

absl::Status JobState::Load(absl::string_view bytes) {
  uint32_t version = 0;
  absl::string_view left = bytes;
  if (TakeBytes(&left, kMagic.size()) != kMagic || !TakeNumber(&left, &version)) {
    return absl::InvalidArgumentError("CHECKPOINT is no state of a job");
  }
  if (version != kVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat("CHECKPOINT has version ", version, ", not ", kVersion));
  }
  if (left.size() < kDigestBytes) return Damaged("it is cut short");
  const absl::string_view body = bytes.substr(0, bytes.size() - kDigestBytes);
  if (TextOf(DigestOf(BytesOf(body))) != bytes.substr(body.size())) {
    return Damaged("its digest is not that of its bytes");
  }
  left.remove_suffix(kDigestBytes);
  const std::optional<absl::string_view> request = TakeBytes(&left, kDigestBytes);
  if (!request.has_value()) return Damaged("it is cut short");
  if (*request != TextOf(request_)) {
    return absl::FailedPreconditionError("CHECKPOINT belongs to another request");
  }
  uint32_t count = 0;
  if (!TakeNumber(&left, &count) || count != states_.size()) {
    return Damaged("it has not the weights of the request");
  }
  std::vector<One> states(count);
  for (One& one : states) {
    uint64_t size = 0;
    if (!TakeNumber(&left, &size)) return Damaged("it is cut short");
    const std::optional<absl::string_view> state = TakeBytes(&left, size);
    if (!state.has_value()) return Damaged("it is cut short");
    one.bytes = *state;
  }
  if (!left.empty()) return Damaged(absl::StrCat("it has ", left.size(), " bytes too many"));
  states_ = std::move(states);
  return absl::OkStatus();
}

void JobState::Set(int weight, std::string state) {
  One& one = states_[weight];
  one.own = std::move(state);
  one.bytes = one.own;
}

std::string JobState::Compose() const {
  size_t size = kMagic.size() + 2 * sizeof(uint32_t) + 2 * kDigestBytes;
  for (const One& one : states_) size += sizeof(uint64_t) + one.bytes.size();
  std::string out;
  out.reserve(size);
  absl::StrAppend(&out, kMagic);
  AppendNumber(kVersion, &out);
  absl::StrAppend(&out, TextOf(request_));
  AppendNumber(static_cast<uint32_t>(states_.size()), &out);
  for (const One& one : states_) {
    AppendNumber<uint64_t>(one.bytes.size(), &out);
    absl::StrAppend(&out, one.bytes);
  }
  absl::StrAppend(&out, TextOf(DigestOf(BytesOf(out))));
  return out;
}

}  // namespace quantd
