// Arbitrary declarations and chunks against a model of the assembler in a few lines.
//
// Input: number of tensors (low 3 bits), per tensor a declaration (see ReadDecl), then operations
// (see Run). make_wire_corpus.py writes the seeds in the same form.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "proto/wire/assembler.h"
#include "proto/wire/chunker.h"
#include "workers/core/shape.h"

namespace quantd::wire {
namespace {

constexpr uint64_t kMostBytesToDigest = 1 << 16;
constexpr uint64_t kLongestChunk = 4096;

void Check(bool ok) {
  if (!ok) std::abort();
}

// Gives zeros past the end.
class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool done() const { return size_ == 0; }
  uint64_t Take(size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes && size_ > 0; ++i, ++data_, --size_) {
      value |= uint64_t{*data_} << (8 * i);
    }
    return value;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

std::string Content(uint64_t tensor, uint64_t offset, uint64_t size) {
  std::string bytes(size, '\0');
  for (uint64_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((offset + i) * 31 + tensor);
  return bytes;
}

absl::Span<const std::byte> AsBytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

class CheckingSink : public TensorSink {
 public:
  explicit CheckingSink(const std::vector<uint64_t>* sizes)
      : sizes_(sizes), next_(sizes->size()), streams_(sizes->size()) {}

  absl::Status Write(int index, uint64_t offset, absl::Span<const std::byte> bytes) override {
    Check(index >= 0 && index < static_cast<int>(next_.size()));
    Check(!bytes.empty());
    Check(offset == next_[index]);
    Check(bytes.size() <= (*sizes_)[index] - offset);
    next_[index] += bytes.size();
    written_ += bytes.size();
    streams_[index].Add(bytes);
    return absl::OkStatus();
  }

  uint64_t next(size_t index) const { return next_[index]; }
  uint64_t written() const { return written_; }
  Digest digest(size_t index) const { return streams_[index].Finish(); }

 private:
  const std::vector<uint64_t>* sizes_;
  std::vector<uint64_t> next_;
  std::vector<DigestStream> streams_;
  uint64_t written_ = 0;
};

// Byte: dtype. Byte: low 2 bits dimensions, bits 2 and 3 kind of digest, bit 7 makes the first
// dimension 8 bytes long instead of 2. False for a size that no header with it would pass.
bool ReadDecl(Reader* in, int index, TensorDecl* decl, uint64_t* size) {
  decl->name = std::to_string(index);
  decl->role = Role::kWeight;
  decl->dtype = static_cast<DType>(in->Take(1) % 16);
  const uint64_t flags = in->Take(1);
  for (uint64_t d = 0; d < flags % 4; ++d) {
    const bool wide = d == 0 && (flags & 0x80) != 0;
    decl->shape.push_back(static_cast<int64_t>(in->Take(wide ? 8 : 2)));
  }
  const absl::StatusOr<uint64_t> bytes = CheckedBytes(decl->shape, decl->dtype, decl->name);
  if (!bytes.ok()) return false;
  *size = *bytes;
  const uint64_t kind = flags >> 2 & 3;
  if (kind == 1 && *size <= kMostBytesToDigest) {
    decl->digest = DigestOf(AsBytes(Content(index, 0, *size)));
  } else if (kind == 2) {
    decl->digest.emplace();
    decl->digest->bytes[0] = static_cast<uint8_t>(in->Take(1));
  }
  return true;
}

// Byte: low 2 bits 0 honest chunk (tensor, 2 bytes of length), 1 chunk at any offset (tensor, 8
// bytes of offset, length), 2 damaged chunk, 3 end.
void Run(Reader* in, const std::vector<TensorDecl>& decls, const std::vector<uint64_t>& sizes) {
  CheckingSink sink(&sizes);
  Assembler assembler(&decls, &sink);
  while (!in->done()) {
    const uint64_t op = in->Take(1) % 4;
    if (op == 3) break;
    ChunkFrame chunk;
    chunk.tensor = static_cast<uint32_t>(in->Take(1));
    const bool known = chunk.tensor < decls.size();
    const uint64_t stands = known ? sink.next(chunk.tensor) : 0;
    chunk.offset = op == 1 ? in->Take(8) : stands;
    chunk.data = Content(chunk.tensor, chunk.offset, in->Take(2) % (kLongestChunk + 1));
    chunk.crc32c = Crc32c(AsBytes(chunk.data)) ^ (op == 2 ? 0x80000000u : 0u);
    const bool honest = known && !chunk.data.empty() && chunk.offset == stands &&
                        chunk.data.size() <= sizes[chunk.tensor] - stands && op != 2;
    const absl::Status status = assembler.Add(chunk);
    Check(status.ok() == honest);
    Check(assembler.received_bytes() == sink.written());
    if (!status.ok()) return;
  }
  bool complete = true;
  for (size_t i = 0; i < sizes.size(); ++i) {
    complete &= sink.next(i) == sizes[i];
    if (decls[i].digest.has_value()) complete &= *decls[i].digest == sink.digest(i);
  }
  Check(assembler.Finish().ok() == complete);
  if (!complete) return;
  Check(assembler.received_bytes() == assembler.expected_bytes());
  for (size_t i = 0; i < sizes.size(); ++i) Check(assembler.digests()[i] == sink.digest(i));
}

}  // namespace
}  // namespace quantd::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantd;  // NOLINT: the entry point has a name of its own
  wire::Reader in(data, size);
  std::vector<TensorDecl> decls(in.Take(1) % 8);
  std::vector<uint64_t> sizes(decls.size());
  for (size_t i = 0; i < decls.size(); ++i) {
    if (!wire::ReadDecl(&in, static_cast<int>(i), &decls[i], &sizes[i])) return 0;
  }
  wire::Run(&in, decls, sizes);
  return 0;
}
