#include "proto/wire/assembler.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/wire/chunker.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"

namespace quantd::wire {
namespace {

std::string Where(const TensorDecl& decl, size_t index) {
  return absl::StrCat("tensor '", decl.name, "' (index ", index, ")");
}

// Counters of lies must not wrap.
uint64_t SaturatingAdd(uint64_t a, uint64_t b) {
  return b > std::numeric_limits<uint64_t>::max() - a ? std::numeric_limits<uint64_t>::max()
                                                      : a + b;
}

}  // namespace

Assembler::Assembler(const std::vector<TensorDecl>* decls, TensorSink* sink)
    : decls_(decls), sink_(sink), next_(decls->size(), 0), streams_(decls->size()) {
  sizes_.reserve(decls->size());
  for (const TensorDecl& decl : *decls) {
    // A size that the caller should have refused takes no bytes at all.
    sizes_.push_back(CheckedBytes(decl.shape, decl.dtype, decl.name).value_or(0));
    expected_ = SaturatingAdd(expected_, sizes_.back());
  }
}

absl::Status Assembler::Add(const ChunkFrame& chunk) {
  if (chunk.tensor >= sizes_.size()) {
    return absl::InvalidArgumentError(absl::StrCat("chunk.tensor: ", chunk.tensor, " is unknown, ",
                                                   sizes_.size(), " tensors are declared"));
  }
  const size_t index = chunk.tensor;
  const TensorDecl& decl = (*decls_)[index];
  const uint64_t at = next_[index];
  if (chunk.data.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Where(decl, index), ": chunk.data: empty, at least 1 byte is needed (offset ",
                     chunk.offset, ")"));
  }
  if (chunk.offset != at) {
    return absl::InvalidArgumentError(absl::StrCat(
        Where(decl, index), ": chunk.offset: ", chunk.offset,
        chunk.offset > at ? " leaves a gap" : " repeats bytes", ", the tensor stands at ", at));
  }
  if (chunk.data.size() > sizes_[index] - at) {
    return absl::OutOfRangeError(
        absl::StrCat(Where(decl, index), ": chunk.data: ", chunk.data.size(), " bytes at offset ",
                     at, " pass the declared ", sizes_[index], " bytes"));
  }
  const absl::Span<const std::byte> bytes(reinterpret_cast<const std::byte*>(chunk.data.data()),
                                          chunk.data.size());
  const uint32_t crc = Crc32c(bytes);
  if (crc != chunk.crc32c) {
    return absl::DataLossError(absl::StrFormat(
        "%s: chunk.crc32c: 0x%08x at offset %u, the %u bytes that arrived have 0x%08x",
        Where(decl, index), chunk.crc32c, at, bytes.size(), crc));
  }
  streams_[index].Add(bytes);
  next_[index] = at + bytes.size();
  received_ = SaturatingAdd(received_, bytes.size());
  return sink_->Write(static_cast<int>(index), at, bytes);
}

absl::Status Assembler::Finish() {
  for (size_t i = 0; i < sizes_.size(); ++i) {
    if (next_[i] != sizes_[i]) {
      return absl::InvalidArgumentError(absl::StrCat(Where((*decls_)[i], i), ": ", next_[i], " of ",
                                                     sizes_[i], " bytes arrived before the end"));
    }
  }
  std::vector<Digest> digests;
  digests.reserve(sizes_.size());
  for (size_t i = 0; i < sizes_.size(); ++i) {
    const TensorDecl& decl = (*decls_)[i];
    digests.push_back(streams_[i].Finish());
    if (decl.digest.has_value() && *decl.digest != digests.back()) {
      return absl::DataLossError(absl::StrCat(Where(decl, i), ": digest: ", decl.digest->Hex(),
                                              " is declared, the bytes that arrived have ",
                                              digests.back().Hex()));
    }
  }
  digests_ = std::move(digests);
  for (size_t i = 0; i < sizes_.size(); ++i) sink_->Complete(static_cast<int>(i), digests_[i]);
  return absl::OkStatus();
}

}  // namespace quantd::wire
