#include "client/files/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/files/journal.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

// Nothing legal nests deeper; writing and copying JSON recurses.
constexpr int kMaxNesting = 64;

constexpr char kSingle[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";
constexpr uint64_t kMaxConfigBytes = 16 << 20;
constexpr uint64_t kMaxIndexBytes = 200 << 20;

template <typename Json>
absl::StatusOr<Json> ParseObject(const std::string& text, const std::string& path) {
  bool too_deep = false;
  const auto watch_depth = [&](int depth, nlohmann::detail::parse_event_t, Json&) {
    too_deep |= depth > kMaxNesting;
    return !too_deep;
  };
  Json json = Json::parse(text, watch_depth, /*allow_exceptions=*/false);
  if (too_deep) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": JSON nests deeper than ", kMaxNesting, " levels"));
  }
  if (json.is_discarded())
    return absl::InvalidArgumentError(absl::StrCat(path, ": not valid JSON"));
  if (!json.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a JSON object"));
  }
  return json;
}

// A name that can only mean a file in the folder itself.
bool IsBareFileName(absl::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.size() > 255) return false;
  return std::none_of(name.begin(), name.end(), [](char c) {
    return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
  });
}

// Tensor name -> shard file.
absl::StatusOr<std::map<std::string, std::string>> ParseIndex(const std::string& text,
                                                              const std::string& path) {
  QUANTD_ASSIGN_OR_RETURN(const auto json, ParseObject<nlohmann::json>(text, path));
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": weight_map: is not an object"));
  }
  std::map<std::string, std::string> out;
  for (const auto& [tensor, file] : map->items()) {
    const auto fail = [&, name = tensor](absl::string_view what) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": weight_map: tensor '", name, "' ", what));
    };
    if (!file.is_string()) return fail("has a value that is not a string");
    const std::string& value = file.get_ref<const std::string&>();
    if (!IsBareFileName(value) || !absl::EndsWith(value, ".safetensors")) {
      return fail(
          absl::StrCat("names the file '", value, "', expected a bare *.safetensors file name"));
    }
    out.emplace(tensor, value);
  }
  if (out.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": weight_map: names no tensor"));
  }
  return out;
}

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

// A shard of another save that lies in the folder would be loaded by readers that glob.
absl::Status CheckStale(const std::string& dir, const std::set<std::string>& named) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(dir, error)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, "model-") && absl::StrContains(name, "-of-") &&
        absl::EndsWith(name, ".safetensors") && named.count(name) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          dir, ": stale shard '", name, "': no index names it; remove it or restore the index"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool NaturalLess(absl::string_view a, absl::string_view b) {
  const auto digits = [](absl::string_view s, size_t at) {
    size_t end = at;
    while (end < s.size() && absl::ascii_isdigit(s[end])) ++end;
    return s.substr(at, end - at);
  };
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (absl::ascii_isdigit(a[i]) && absl::ascii_isdigit(b[j])) {
      const absl::string_view x = digits(a, i), y = digits(b, j);
      absl::string_view p = x, q = y;
      while (p.size() > 1 && p[0] == '0') p.remove_prefix(1);
      while (q.size() > 1 && q[0] == '0') q.remove_prefix(1);
      if (p.size() != q.size()) return p.size() < q.size();
      if (p != q) return p < q;
      i += x.size();
      j += y.size();
      continue;
    }
    if (a[i] != b[j]) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
    ++i;
    ++j;
  }
  const bool a_ended = i == a.size(), b_ended = j == b.size();
  if (a_ended != b_ended) return a_ended;
  return a < b;  // equal but for leading zeros
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path, uint64_t limit) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  const absl::Cleanup closer = [fd] { close(fd); };
  struct stat info {};
  if (fstat(fd, &info) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a regular file"));
  }
  if (static_cast<uint64_t>(info.st_size) > limit) {
    return absl::OutOfRangeError(
        absl::StrCat(path, ": has ", info.st_size, " bytes, more than the limit of ", limit));
  }
  std::string text(info.st_size, '\0');
  size_t at = 0;
  while (at < text.size()) {
    const ssize_t got = read(fd, text.data() + at, text.size() - at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    if (got == 0) break;
    at += got;
  }
  text.resize(at);
  return text;
}

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::string& dir) {
  std::error_code error;
  if (!std::filesystem::is_directory(dir, error)) {
    return absl::NotFoundError(absl::StrCat(dir, ": is not a folder"));
  }
  Checkpoint out;
  out.dir_ = dir;
  if (Exists(absl::StrCat(dir, "/", kJournalName)) && !Exists(absl::StrCat(dir, "/config.json"))) {
    return absl::FailedPreconditionError(
        absl::StrCat(dir, ": unfinished; continue its run with --resume"));
  }
  QUANTD_RETURN_IF_ERROR(out.ReadConfig());
  const std::string single = absl::StrCat(dir, "/", kSingle);
  const std::string index = absl::StrCat(dir, "/", kIndex);
  if (Exists(index)) {
    QUANTD_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(index, kMaxIndexBytes));
    QUANTD_RETURN_IF_ERROR(out.OpenSharded(text));
  } else if (Exists(single)) {
    QUANTD_RETURN_IF_ERROR(CheckStale(dir, {}));
    QUANTD_RETURN_IF_ERROR(out.OpenSingle(kSingle));
  } else {
    return absl::NotFoundError(absl::StrCat(dir, ": has neither ", kSingle, " nor ", kIndex,
                                            " (other weight formats are not read)"));
  }
  QUANTD_RETURN_IF_ERROR(out.Collect());
  return out;
}

absl::Status Checkpoint::ReadConfig() {
  const std::string path = absl::StrCat(dir_, "/config.json");
  QUANTD_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxConfigBytes));
  QUANTD_ASSIGN_OR_RETURN(config_, ParseObject<nlohmann::ordered_json>(text, path));
  return absl::OkStatus();
}

absl::Status Checkpoint::OpenSingle(const std::string& file) {
  QUANTD_ASSIGN_OR_RETURN(SafetensorsFile shard,
                          SafetensorsFile::Open(absl::StrCat(dir_, "/", file)));
  shards_.push_back(std::move(shard));
  return absl::OkStatus();
}

absl::Status Checkpoint::OpenSharded(const std::string& index_text) {
  const std::string index = absl::StrCat(dir_, "/", kIndex);
  QUANTD_ASSIGN_OR_RETURN(const auto map, ParseIndex(index_text, index));
  std::set<std::string> names;
  for (const auto& [tensor, file] : map) names.insert(file);
  if (names.count(kSingle) == 0 && Exists(absl::StrCat(dir_, "/", kSingle))) {
    return absl::InvalidArgumentError(
        absl::StrCat(dir_, ": holds both ", kSingle, " and ", kIndex, ", which names other files"));
  }
  QUANTD_RETURN_IF_ERROR(CheckStale(dir_, names));
  for (const std::string& name : names) {
    if (!Exists(absl::StrCat(dir_, "/", name))) {
      return absl::NotFoundError(absl::StrCat(index, ": shard '", name, "' is missing"));
    }
    QUANTD_RETURN_IF_ERROR(OpenSingle(name));
    for (const StoredTensor& t : shards_.back().tensors()) {
      const auto it = map.find(t.name);
      if (it == map.end() || it->second != name) {
        return absl::InvalidArgumentError(
            absl::StrCat(index, ": tensor '", t.name, "' lies in '", name, "', but the index ",
                         it == map.end() ? "does not name it"
                                         : absl::StrCat("puts it into '", it->second, "'")));
      }
    }
  }
  std::map<std::string, const SafetensorsFile*> by_file;
  size_t at = 0;
  for (const std::string& name : names) by_file[name] = &shards_[at++];
  for (const auto& [tensor, file] : map) {
    if (by_file[file]->Find(tensor) == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(index, ": tensor '", tensor, "' is not in '", file, "'"));
    }
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::Collect() {
  for (size_t i = 0; i < shards_.size(); ++i) {
    for (const StoredTensor& t : shards_[i].tensors()) {
      tensors_.push_back({&t, static_cast<int>(i)});
    }
  }
  std::sort(tensors_.begin(), tensors_.end(),
            [](const CheckpointTensor& a, const CheckpointTensor& b) {
              return NaturalLess(a.name(), b.name());
            });
  for (size_t i = 0; i < tensors_.size(); ++i) by_name_[tensors_[i].name()] = i;
  return absl::OkStatus();
}

std::string Checkpoint::ModelType() const {
  const auto it = config_.find("model_type");
  return it != config_.end() && it->is_string() ? it->get<std::string>() : "";
}

const CheckpointTensor* Checkpoint::Find(absl::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

uint64_t Checkpoint::TotalBytes() const {
  uint64_t sum = 0;
  for (const CheckpointTensor& t : tensors_) sum += t.stored->size();
  return sum;
}

}  // namespace quantd
