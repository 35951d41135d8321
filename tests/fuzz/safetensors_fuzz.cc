// The safetensors parser on arbitrary bytes: no crash, and whatever it accepts keeps its promises.
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>

#include "client/files/safetensors_header.h"

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto header =
      quantd::ParseSafetensors({reinterpret_cast<const std::byte*>(data), size}, "input");
  if (!header.ok()) {
    Require(!header.status().message().empty());
    return 0;
  }
  Require(header->data_begin <= size);
  std::set<std::string> names;
  uint64_t at = 0;
  for (const quantd::StoredTensor& t : header->tensors) {
    Require(names.insert(t.name).second);
    Require(t.begin == at && t.begin <= t.end);
    uint64_t bits = quantd::SafetensorsBits(t.dtype_name);
    Require(bits > 0);
    for (int64_t d : t.shape) {
      Require(d >= 0);
      bits *= static_cast<uint64_t>(d);
    }
    Require(bits == 8 * t.size());
    at = t.end;
  }
  Require(header->data_begin + at == size);
  return 0;
}
