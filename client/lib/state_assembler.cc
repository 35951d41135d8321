#include "client/lib/state_assembler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/wire/chunker.h"

namespace quantd::client {
namespace {

// What is reserved on the word of the server; more only grows with what arrives.
constexpr uint64_t kTrustedBytes = uint64_t{1} << 30;

std::string Place(const wire::JobStateFrame& piece) {
  return absl::StrCat("a state of the job: ", piece.data.size(), " bytes at ", piece.offset, " of ",
                      piece.total_bytes);
}

}  // namespace

absl::StatusOr<std::optional<std::string>> StateAssembler::Add(wire::JobStateFrame piece) {
  if (piece.offset == 0) {
    total_ = piece.total_bytes;
    bytes_.clear();
    bytes_.reserve(std::min(total_, kTrustedBytes));
  }
  if (piece.data.empty()) return absl::InternalError(absl::StrCat(Place(piece), ": empty"));
  if (piece.total_bytes != total_ || piece.offset != bytes_.size()) {
    return absl::InternalError(
        absl::StrCat(Place(piece), " do not follow ", bytes_.size(), " of ", total_));
  }
  if (piece.data.size() > total_ - bytes_.size()) {
    return absl::InternalError(absl::StrCat(Place(piece), " pass its end"));
  }
  const uint32_t crc =
      wire::Crc32c({reinterpret_cast<const std::byte*>(piece.data.data()), piece.data.size()});
  if (crc != piece.crc32c) {
    return absl::DataLossError(absl::StrCat(Place(piece), ": CRC-32C is ", absl::Hex(crc),
                                            ", the piece says ", absl::Hex(piece.crc32c)));
  }
  bytes_ += piece.data;
  if (bytes_.size() < total_) return std::optional<std::string>();
  total_ = 0;
  return std::optional<std::string>(std::exchange(bytes_, {}));
}

}  // namespace quantd::client
