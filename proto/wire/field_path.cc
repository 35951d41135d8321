#include "proto/wire/field_path.h"

#include <cstring>

#include "absl/strings/escaping.h"

namespace quantd::wire {
namespace {

// Length of the well-formed UTF-8 sequence at the head of `text`, 0 when there is none; its code
// point in `*point`. Overlong forms, surrogates and numbers above U+10FFFF are not well-formed.
size_t DecodeUtf8(absl::string_view text, uint32_t* point) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) {
    *point = lead;
    return 1;
  }
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (lead < 0xC0 || lead >= 0xF8 || text.size() < length) return 0;
  uint32_t value = lead & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3F);
  }
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < kSmallest[length] || value > 0x10FFFF || surrogate) return 0;
  *point = value;
  return length;
}

}  // namespace

std::string FieldPath::ToString() const {
  std::string path = parent_ == nullptr ? std::string() : parent_->ToString();
  if (!path.empty() && !name_.empty()) path += '.';
  path.append(name_.data(), name_.size());
  if (index_ >= 0) absl::StrAppend(&path, "[", index_, "]");
  return path;
}

absl::Status Invalid(const FieldPath& path, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(path.ToString(), ": ", problem));
}

std::string Shown(absl::string_view text) {
  constexpr size_t kShown = 64;
  const bool cut = text.size() > kShown;
  return absl::StrCat("'", absl::CHexEscape(text.substr(0, kShown)), cut ? "...'" : "'");
}

absl::Status CheckName(const FieldPath& path, absl::string_view name) {
  if (name.empty()) return Invalid(path, "'' is empty, 1..1024 bytes are needed");
  if (name.size() > kMaxNameBytes) {
    return Invalid(
        path, absl::StrCat(Shown(name), " has ", name.size(), " bytes, more than ", kMaxNameBytes));
  }
  for (absl::string_view rest = name; !rest.empty();) {
    uint32_t point = 0;
    const size_t length = DecodeUtf8(rest, &point);
    if (length == 0) return Invalid(path, absl::StrCat(Shown(name), " is not UTF-8"));
    if (point < 0x20 || (point >= 0x7F && point < 0xA0)) {
      return Invalid(path, absl::StrCat(Shown(name), " holds a control character"));
    }
    rest.remove_prefix(length);
  }
  return absl::OkStatus();
}

absl::Status CheckJobId(const FieldPath& path, absl::string_view id) {
  bool good = !id.empty() && id.size() <= kMaxJobIdBytes;
  for (char c : id) good &= c >= 0x20 && c <= 0x7E;
  if (good) return absl::OkStatus();
  return Invalid(path, absl::StrCat(Shown(id), " (", id.size(),
                                    " bytes) is not 1..128 printable ASCII characters"));
}

absl::Status TakeDigest(const FieldPath& path, absl::string_view bytes, Digest* out) {
  if (bytes.size() != out->bytes.size()) {
    return Invalid(path, absl::StrCat(bytes.size(), " bytes, a digest has 16"));
  }
  std::memcpy(out->bytes.data(), bytes.data(), bytes.size());
  return absl::OkStatus();
}

}  // namespace quantd::wire
