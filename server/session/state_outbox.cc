#include "server/session/state_outbox.h"

#include <algorithm>
#include <utility>

#include "proto/wire/chunker.h"

namespace quantd {

std::string StateOutbox::Put(std::string state) {
  return std::exchange(waiting_, std::move(state));
}

std::optional<wire::JobStateFrame> StateOutbox::Next(std::string* spent) {
  if (sending_.empty()) {
    if (waiting_.empty()) return std::nullopt;
    sending_ = std::exchange(waiting_, {});
    offset_ = 0;
  }
  std::optional<wire::JobStateFrame> piece(std::in_place);
  piece->total_bytes = sending_.size();
  piece->offset = offset_;
  piece->data = sending_.substr(offset_, std::max<uint64_t>(chunk_bytes_, 1));
  piece->crc32c =
      wire::Crc32c({reinterpret_cast<const std::byte*>(piece->data.data()), piece->data.size()});
  offset_ += piece->data.size();
  if (offset_ == sending_.size()) *spent = std::exchange(sending_, {});
  return piece;
}

std::vector<std::string> StateOutbox::Take() {
  std::vector<std::string> all;
  all.push_back(std::exchange(waiting_, {}));
  all.push_back(std::exchange(sending_, {}));
  return all;
}

}  // namespace quantd
