// Small model folders for tests, written by hand: nothing here uses the code under test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "workers/core/dtype.h"
#include "workers/core/shape.h"

namespace quantd::testing {

// A fresh folder that goes away with the object.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct RawTensor {
  std::string name;
  std::string dtype;
  Shape shape;
  std::string bytes;
};

// `bytes` bytes that differ between seeds.
std::string PatternBytes(uint64_t bytes, uint64_t seed);

// F32 values in (-1, 1).
std::string PatternF32(uint64_t count, uint64_t seed);

RawTensor F32(const std::string& name, const Shape& shape, uint64_t seed);

// Length prefix, JSON text and data, without any check.
std::string Assemble(const std::string& json, const std::string& data);

// A safetensors file: tensors in the given order, metadata format "pt".
std::string Serialize(const std::vector<RawTensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

void WriteText(const std::string& path, const std::string& text);
std::string ReadText(const std::string& path);
bool FileExists(const std::string& path);

// Relative path -> contents of every file below `dir`.
std::map<std::string, std::string> ReadTree(const std::string& dir);

absl::Span<const std::byte> AsBytes(const std::string& text);

// Two Llama-like layers of width 64 with embeddings, norms, lm_head, a tokenizer, a subfolder.
std::vector<RawTensor> LlamaTensors();
void WriteLlama(const std::string& dir);

}  // namespace quantd::testing
