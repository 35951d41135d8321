#include "client/files/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

struct Kind {
  absl::string_view name;
  int bits;
};

// In the format's own order: the rank is the position.
constexpr Kind kKinds[] = {
    {"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
    {"I64", 64},        {"U64", 64},
};

// Values in messages come from outside: control characters are escaped, long ones are cut.
std::string Shown(absl::string_view text) {
  constexpr size_t kMost = 200;
  std::string out;
  for (char c : text.substr(0, kMost)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      absl::StrAppend(&out, "\\x", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    } else {
      out.push_back(c);
    }
  }
  if (text.size() > kMost) absl::StrAppend(&out, "...");
  return out;
}

// Walks the JSON without building it, so that memory follows the tensors and not the text, and so
// that repeated keys are seen.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderHandler(absl::string_view file, SafetensorsHeader* out) : file_(file), out_(out) {}

  const absl::Status& status() const { return status_; }

  bool null() override { return Value("null"); }
  bool boolean(bool v) override { return Value(v ? "true" : "false"); }
  bool number_integer(number_integer_t v) override { return Value(absl::StrCat(v)); }
  bool number_float(number_float_t, const string_t& text) override { return Value(text); }
  bool binary(binary_t&) override { return Value("binary"); }
  bool number_unsigned(number_unsigned_t v) override;
  bool string(string_t& v) override;
  bool start_object(size_t) override;
  bool key(string_t& v) override;
  bool end_object() override;
  bool start_array(size_t) override;
  bool end_array() override;
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override;

 private:
  // Where in the document the next value stands.
  enum class Place { kTop, kNames, kMetadata, kTensor, kField, kArray };
  enum class Field { kNone, kDType, kShape, kOffsets };

  bool Fail(absl::string_view what) {
    status_ = absl::InvalidArgumentError(absl::StrCat(file_, ": ", what));
    return false;
  }
  bool FailTensor(absl::string_view what) {
    return Fail(absl::StrCat("tensor '", Shown(name_), "': ", what));
  }
  // A value that none of the fields takes, unless it stands under an unknown key.
  bool Value(absl::string_view text);
  bool StartTensor();
  bool EndTensor();

  const absl::string_view file_;
  SafetensorsHeader* const out_;
  absl::Status status_;
  Place place_ = Place::kTop;
  int skipped_depth_ = 0;  // open brackets below an unknown key
  std::string name_;       // the key at the top level
  std::string metadata_key_;
  bool metadata_seen_ = false;
  Field field_ = Field::kNone;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
  StoredTensor tensor_;
  std::vector<uint64_t> numbers_;
  absl::flat_hash_set<std::string> names_;
};

bool HeaderHandler::Value(absl::string_view text) {
  if (skipped_depth_ > 0) return true;
  switch (place_) {
    case Place::kTop:
      return Fail("header: is not a JSON object");
    case Place::kNames:
      return FailTensor(absl::StrCat("entry is ", Shown(text), ", expected an object"));
    case Place::kMetadata:
      return Fail(absl::StrCat("__metadata__: value of '", Shown(metadata_key_), "' is ",
                               Shown(text), ", expected a string"));
    case Place::kArray:
      return FailTensor(absl::StrCat(field_ == Field::kShape ? "shape" : "data_offsets", ": entry ",
                                     Shown(text), " is not a non-negative integer"));
    case Place::kTensor:
    case Place::kField:
      break;
  }
  if (field_ == Field::kNone) return true;
  return FailTensor(absl::StrCat(field_ == Field::kDType   ? "dtype"
                                 : field_ == Field::kShape ? "shape"
                                                           : "data_offsets",
                                 ": value ", Shown(text), " has the wrong type"));
}

bool HeaderHandler::number_unsigned(number_unsigned_t v) {
  if (skipped_depth_ > 0 || place_ != Place::kArray) return Value(absl::StrCat(v));
  if (field_ == Field::kOffsets && numbers_.size() == 2) {
    return FailTensor("data_offsets: has more than two entries");
  }
  if (v > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return FailTensor(absl::StrCat(field_ == Field::kShape ? "shape" : "data_offsets", ": entry ",
                                   v, " is too large"));
  }
  numbers_.push_back(v);
  return true;
}

bool HeaderHandler::string(string_t& v) {
  if (skipped_depth_ > 0) return true;
  if (place_ == Place::kMetadata) {
    out_->metadata[metadata_key_] = std::move(v);
    return true;
  }
  if (place_ == Place::kField && field_ == Field::kDType) {
    if (SafetensorsRank(v) < 0) {
      return FailTensor(absl::StrCat("dtype: '", Shown(v), "' is not a safetensors dtype"));
    }
    tensor_.dtype_name = std::move(v);
    return true;
  }
  return Value(absl::StrCat("\"", Shown(v), "\""));
}

bool HeaderHandler::start_object(size_t) {
  if (skipped_depth_ > 0) {
    ++skipped_depth_;
    return true;
  }
  switch (place_) {
    case Place::kTop:
      place_ = Place::kNames;
      return true;
    case Place::kNames:
      return StartTensor();
    case Place::kField:
      if (field_ == Field::kNone) {
        ++skipped_depth_;
        return true;
      }
      break;
    default:
      break;
  }
  return Value("an object");
}

bool HeaderHandler::StartTensor() {
  if (name_ == "__metadata__") {
    place_ = Place::kMetadata;
    return true;
  }
  place_ = Place::kTensor;
  tensor_ = {};
  tensor_.name = name_;
  has_dtype_ = has_shape_ = has_offsets_ = false;
  return true;
}

bool HeaderHandler::key(string_t& v) {
  if (skipped_depth_ > 0) return true;
  switch (place_) {
    case Place::kNames:
      name_ = std::move(v);
      if (name_ == "__metadata__") {
        if (std::exchange(metadata_seen_, true)) return Fail("__metadata__: appears twice");
        return true;
      }
      if (!names_.insert(name_).second) return FailTensor("name appears twice");
      return true;
    case Place::kMetadata:
      metadata_key_ = std::move(v);
      if (out_->metadata.count(metadata_key_) != 0) {
        return Fail(absl::StrCat("__metadata__: key '", Shown(metadata_key_), "' appears twice"));
      }
      return true;
    default:
      break;
  }
  // A key of a tensor's entry.
  place_ = Place::kField;
  field_ = v == "dtype"          ? Field::kDType
           : v == "shape"        ? Field::kShape
           : v == "data_offsets" ? Field::kOffsets
                                 : Field::kNone;
  bool* const seen = field_ == Field::kDType     ? &has_dtype_
                     : field_ == Field::kShape   ? &has_shape_
                     : field_ == Field::kOffsets ? &has_offsets_
                                                 : nullptr;
  if (seen != nullptr && std::exchange(*seen, true)) {
    return FailTensor(absl::StrCat(v, ": appears twice"));
  }
  return true;
}

bool HeaderHandler::end_object() {
  if (skipped_depth_ > 0) {
    --skipped_depth_;
    return true;
  }
  if (place_ == Place::kMetadata) {
    place_ = Place::kNames;
    return true;
  }
  if (place_ == Place::kNames) {
    place_ = Place::kTop;
    return true;
  }
  return EndTensor();
}

bool HeaderHandler::EndTensor() {
  if (!has_dtype_) return FailTensor("dtype: is missing");
  if (!has_shape_) return FailTensor("shape: is missing");
  if (!has_offsets_) return FailTensor("data_offsets: is missing");
  tensor_.dtype = ParseDType(tensor_.dtype_name).value_or(DType::kUnspecified);
  out_->tensors.push_back(std::move(tensor_));
  place_ = Place::kNames;
  return true;
}

bool HeaderHandler::start_array(size_t) {
  if (skipped_depth_ > 0 || (place_ == Place::kField && field_ == Field::kNone)) {
    ++skipped_depth_;
    return true;
  }
  if (place_ != Place::kField || field_ == Field::kDType) return Value("an array");
  numbers_.clear();
  place_ = Place::kArray;
  return true;
}

bool HeaderHandler::end_array() {
  if (skipped_depth_ > 0) {
    --skipped_depth_;
    return true;
  }
  place_ = Place::kField;
  if (field_ == Field::kShape) {
    tensor_.shape.assign(numbers_.begin(), numbers_.end());
    return true;
  }
  if (numbers_.size() != 2) {
    return FailTensor(
        absl::StrCat("data_offsets: has ", numbers_.size(), " entries, expected two"));
  }
  tensor_.begin = numbers_[0];
  tensor_.end = numbers_[1];
  return true;
}

bool HeaderHandler::parse_error(size_t position, const std::string&,
                                const nlohmann::detail::exception&) {
  return Fail(absl::StrCat("header: not valid UTF-8 JSON near byte ", position, " of the header"));
}

// Bytes that shape and dtype ask for.
absl::StatusOr<uint64_t> ExpectedBytes(const StoredTensor& tensor, absl::string_view file) {
  const uint64_t width = SafetensorsBits(tensor.dtype_name);
  uint64_t bits = width;
  for (int64_t d : tensor.shape) {
    if (__builtin_mul_overflow(bits, static_cast<uint64_t>(d), &bits)) {
      return absl::OutOfRangeError(absl::StrCat(file, ": tensor '", Shown(tensor.name), "': shape ",
                                                ShapeString(tensor.shape), " of ",
                                                tensor.dtype_name, " is too large"));
    }
  }
  if (bits % 8 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": tensor '", Shown(tensor.name),
                                                   "': shape ", ShapeString(tensor.shape), " of ",
                                                   tensor.dtype_name, " ends inside a byte"));
  }
  return bits / 8;
}

absl::Status CheckTiling(const SafetensorsHeader& header, uint64_t data_bytes,
                         absl::string_view file) {
  uint64_t at = 0;
  for (const StoredTensor& t : header.tensors) {
    const auto fail = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(file, ": tensor '", Shown(t.name),
                                                     "': data_offsets [", t.begin, ", ", t.end,
                                                     "] ", what));
    };
    if (t.end < t.begin) return fail("end before they begin");
    if (t.begin < at) return fail(absl::StrCat("overlap the bytes up to ", at));
    if (t.begin > at) return fail(absl::StrCat("leave a hole from ", at));
    if (t.end > data_bytes)
      return fail(absl::StrCat("pass the file's ", data_bytes, " data bytes"));
    QUANTD_ASSIGN_OR_RETURN(const uint64_t expected, ExpectedBytes(t, file));
    if (t.size() != expected) {
      return fail(absl::StrCat("hold ", t.size(), " bytes, but shape ", ShapeString(t.shape),
                               " of ", t.dtype_name, " needs ", expected));
    }
    at = t.end;
  }
  if (at != data_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        file, ": ", data_bytes - at, " trailing bytes behind the last tensor's end at ", at));
  }
  return absl::OkStatus();
}

}  // namespace

int SafetensorsBits(absl::string_view dtype_name) {
  const int rank = SafetensorsRank(dtype_name);
  return rank < 0 ? 0 : kKinds[rank].bits;
}

int SafetensorsRank(absl::string_view dtype_name) {
  for (size_t i = 0; i < std::size(kKinds); ++i) {
    if (kKinds[i].name == dtype_name) return static_cast<int>(i);
  }
  return -1;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensors(absl::Span<const std::byte> bytes,
                                                   absl::string_view file) {
  const auto fail = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": ", what));
  };
  if (bytes.size() < 8) {
    return fail(absl::StrCat("has ", bytes.size(), " bytes, a safetensors file at least 8"));
  }
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<uint64_t>(bytes[i]);
  if (length > kMaxSafetensorsHeader) {
    return fail(
        absl::StrCat("header length ", length, " is above the limit of ", kMaxSafetensorsHeader));
  }
  if (length > bytes.size() - 8) {
    return fail(absl::StrCat("header length ", length, " passes the end of the file of ",
                             bytes.size(), " bytes"));
  }
  const auto* const text = reinterpret_cast<const char*>(bytes.data()) + 8;
  if (length == 0 || text[0] != '{') return fail("header: does not start with '{'");

  SafetensorsHeader header;
  header.data_begin = 8 + length;
  HeaderHandler handler(file, &header);
  const bool parsed = nlohmann::json::sax_parse(text, text + length, &handler);
  if (!handler.status().ok()) return handler.status();
  if (!parsed) return fail("header: not valid JSON");

  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const StoredTensor& a, const StoredTensor& b) {
              return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
            });
  QUANTD_RETURN_IF_ERROR(CheckTiling(header, bytes.size() - header.data_begin, file));
  return header;
}

}  // namespace quantd
