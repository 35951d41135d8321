#include "client/files/work_area.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/files/durable_file.h"
#include "client/files/output_plan.h"
#include "workers/core/status_macros.h"

namespace quantd {

namespace fs = std::filesystem;

namespace {

constexpr char kStateSuffix[] = ".state";

// The tensors of a state's file.
constexpr char kStateModules[] = "modules";  // I32: of the job, by index
constexpr char kStateDigest[] = "digest";    // U8 [16], of the state
constexpr char kStateBytes[] = "state";      // U8

template <typename T>
PackedView ViewOf(const char* name, DType dtype, absl::Span<const T> values) {
  return {{name, dtype, {static_cast<int64_t>(values.size())}},
          {reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)}};
}

// The bytes of tensor `name`, which must be of `dtype`; nothing where it is not.
absl::Span<const std::byte> BytesOf(const SafetensorsFile& file, const char* name, DType dtype) {
  const StoredTensor* const tensor = file.Find(name);
  if (tensor == nullptr || tensor->dtype != dtype) return {};
  return file.Bytes(*tensor);
}

}  // namespace

WorkArea::WorkArea(const std::string& dir) : dir_(absl::StrCat(dir, "/", kWorkAreaName)) {}

std::string WorkArea::PathOf(int module) const {
  return absl::StrFormat("%s/%05d.safetensors", dir_, module);
}

std::string WorkArea::StatePathOf(int module) const {
  return absl::StrFormat("%s/%05d%s", dir_, module, kStateSuffix);
}

absl::Status WorkArea::Write(const std::string& path, absl::Span<const PackedView> tensors) {
  std::error_code error;
  if (fs::create_directory(dir_, error)) {
    QUANTD_RETURN_IF_ERROR(SyncFolder(fs::path(dir_).parent_path().string()));
  }
  if (error) return FileError(error.value(), absl::StrCat("cannot create ", dir_));
  std::vector<PlannedTensor> planned;
  for (const PackedView& view : tensors) {
    PlannedTensor tensor;
    tensor.name = view.decl.suffix;
    tensor.dtype_name = std::string(DTypeName(view.decl.dtype));
    tensor.shape = view.decl.shape;
    tensor.bytes = view.bytes.size();
    tensor.module = static_cast<int>(planned.size());  // which view
    planned.push_back(std::move(tensor));
  }
  std::vector<PlannedTensor*> members;
  for (PlannedTensor& tensor : planned) members.push_back(&tensor);
  const std::string header = LayOutSafetensors(members);
  QUANTD_RETURN_IF_ERROR(WriteDurably(path, [&](int fd, absl::string_view aside) -> absl::Status {
    QUANTD_RETURN_IF_ERROR(WriteFully(
        fd, 0, {reinterpret_cast<const std::byte*>(header.data()), header.size()}, aside));
    for (const PlannedTensor* tensor : members) {
      QUANTD_RETURN_IF_ERROR(WriteFully(fd, tensor->offset, tensors[tensor->module].bytes, aside));
    }
    return absl::OkStatus();
  }));
  return SyncFolder(dir_);
}

absl::Status WorkArea::Put(int module, absl::Span<const PackedView> tensors) {
  return Write(PathOf(module), tensors);
}

absl::StatusOr<SafetensorsFile> WorkArea::Open(int module) const {
  return SafetensorsFile::Open(PathOf(module));
}

absl::Status WorkArea::PutState(absl::Span<const int> modules, absl::string_view state) {
  const std::vector<int32_t> members(modules.begin(), modules.end());
  const absl::Span<const char> bytes(state.data(), state.size());
  const PackedView view = ViewOf(kStateBytes, DType::kU8, bytes);
  const Digest digest = DigestOf(view.bytes);
  const PackedView views[] = {
      ViewOf(kStateModules, DType::kI32, absl::MakeConstSpan(members)),
      ViewOf(kStateDigest, DType::kU8, absl::MakeConstSpan(digest.bytes)),
      view,
  };
  return Write(StatePathOf(modules.front()), views);
}

absl::StatusOr<StoredState> WorkArea::OpenState(absl::Span<const int> modules) const {
  const std::string path = StatePathOf(modules.front());
  QUANTD_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(path));
  const absl::Span<const std::byte> members = BytesOf(file, kStateModules, DType::kI32);
  const absl::Span<const std::byte> digest = BytesOf(file, kStateDigest, DType::kU8);
  StoredState state{std::move(file), {}, {}};
  state.bytes = BytesOf(state.file, kStateBytes, DType::kU8);
  state.digest = DigestOf(state.bytes);
  if (state.bytes.empty() || digest.size() != state.digest.bytes.size() ||
      std::memcmp(digest.data(), state.digest.bytes.data(), digest.size()) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is damaged"));
  }
  const std::vector<int32_t> wanted(modules.begin(), modules.end());
  if (members.size() != wanted.size() * sizeof(int32_t) ||
      std::memcmp(members.data(), wanted.data(), members.size()) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": belongs to another set of layers"));
  }
  return state;
}

absl::Status WorkArea::RemoveState(int first_module) {
  const std::string path = StatePathOf(first_module);
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return FileError(errno, absl::StrCat("cannot remove ", path));
}

uint64_t WorkArea::StoredBytes() const {
  uint64_t sum = 0;
  std::error_code error;
  for (fs::directory_iterator it(dir_, error), end; !error && it != end; it.increment(error)) {
    if (absl::StrContains(it->path().filename().string(), kStateSuffix)) continue;
    const uintmax_t size = it->file_size(error);
    if (!error) sum += size;
  }
  return sum;
}

absl::Status WorkArea::Remove() {
  std::error_code error;
  fs::remove_all(dir_, error);
  return error ? FileError(error.value(), absl::StrCat("cannot remove ", dir_)) : absl::OkStatus();
}

}  // namespace quantd
