#include "client/files/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/files/durable_file.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The string under `key`; nullptr if there is none.
const std::string* StringAt(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get_ptr<const std::string*>() : nullptr;
}

std::optional<JournalEntry> ParseEntry(absl::string_view line) {
  const Json json = Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const std::string* const module = StringAt(json, "module");
  const std::string* const source = StringAt(json, "source");
  const std::string* const report = StringAt(json, "report");
  const auto digests = json.find("digests");
  if (module == nullptr || source == nullptr || report == nullptr || digests == json.end() ||
      !digests->is_array()) {
    return std::nullopt;
  }
  JournalEntry entry;
  entry.module = *module;
  entry.report_json = *report;
  if (const std::string* const outcome = StringAt(json, "outcome")) entry.outcome_json = *outcome;
  const std::optional<Digest> source_digest = Digest::FromHex(*source);
  if (!source_digest.has_value()) return std::nullopt;
  entry.source = *source_digest;
  for (const Json& hex : *digests) {
    const std::optional<Digest> digest =
        hex.is_string() ? Digest::FromHex(hex.get_ref<const std::string&>()) : std::nullopt;
    if (!digest.has_value()) return std::nullopt;
    entry.digests.push_back(*digest);
  }
  return entry;
}

// The first line.
std::string HeadOf(const Digest& plan) {
  Json head;
  head["quantd_journal"] = kVersion;
  head["plan"] = plan.Hex();
  head["tool"] = QUANTD_VERSION;
  return Dump(head);
}

absl::StatusOr<std::string> ReadAll(int fd, const std::string& path) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return FileError(errno, absl::StrCat("cannot stat ", path));
  std::string text(info.st_size, '\0');
  size_t at = 0;
  while (at < text.size()) {
    const ssize_t got = pread(fd, text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, absl::StrCat("cannot read ", path));
    if (got == 0) break;
    at += got;
  }
  text.resize(at);
  return text;
}

}  // namespace

Journal::~Journal() { close(fd_); }

absl::StatusOr<std::unique_ptr<Journal>> Journal::Create(const std::string& dir, const Digest& plan,
                                                         const std::string& name) {
  const std::string path = absl::StrCat(dir, "/", name);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 && errno == EEXIST) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": exists, another run uses this folder"));
  }
  if (fd < 0) return FileError(errno, absl::StrCat("cannot create ", path));
  std::unique_ptr<Journal> journal(new Journal(fd, path));
  QUANTD_RETURN_IF_ERROR(journal->Lock());
  const absl::Status started = journal->Start(dir, plan);
  if (!started.ok()) unlink(path.c_str());
  QUANTD_RETURN_IF_ERROR(started);
  return journal;
}

absl::StatusOr<std::unique_ptr<Journal>> Journal::Reopen(const std::string& dir, const Digest& plan,
                                                         std::vector<JournalEntry>* entries,
                                                         const std::string& name) {
  const std::string path = absl::StrCat(dir, "/", name);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) {
    return absl::NotFoundError(
        absl::StrCat(dir, ": has no ", name, ", there is nothing to resume"));
  }
  if (fd < 0) return FileError(errno, absl::StrCat("cannot open ", path));
  std::unique_ptr<Journal> journal(new Journal(fd, path));
  QUANTD_RETURN_IF_ERROR(journal->Lock());
  QUANTD_RETURN_IF_ERROR(journal->Load(dir, plan, entries));
  return journal;
}

absl::Status Journal::Lock() {
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return absl::FailedPreconditionError(
          absl::StrCat(path_, ": locked, another process writes into this folder"));
    }
    return FileError(errno, absl::StrCat("cannot lock ", path_));
  }
  struct stat info {};
  if (fstat(fd_, &info) != 0 || info.st_nlink == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path_, ": the other process has just finished this folder"));
  }
  return absl::OkStatus();
}

absl::Status Journal::Start(const std::string& dir, const Digest& plan) {
  {
    absl::MutexLock lock(&mutex_);
    QUANTD_RETURN_IF_ERROR(WriteLine(HeadOf(plan)));
  }
  return SyncFolder(dir);
}

absl::Status Journal::CheckHead(absl::string_view line, const Digest& plan) const {
  const Json head = Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  const bool ours = head.is_object() && head.value("quantd_journal", Json()) == Json(kVersion);
  const std::string* const hex = ours ? StringAt(head, "plan") : nullptr;
  if (hex == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(path_, ": first line is not that of a version ", kVersion, " journal"));
  }
  if (*hex == plan.Hex()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      path_, ": begun under plan ", *hex, ", this run's plan is ", plan.Hex(),
      ": model, options, statistics or tool version differ; choose another output folder"));
}

absl::Status Journal::Load(const std::string& dir, const Digest& plan,
                           std::vector<JournalEntry>* entries) {
  QUANTD_ASSIGN_OR_RETURN(const std::string text, ReadAll(fd_, path_));
  const size_t whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  // Nothing is cut off a file that is none of ours.
  if (whole > 0) {
    QUANTD_RETURN_IF_ERROR(CheckHead(absl::string_view(text).substr(0, text.find('\n')), plan));
  } else if (!absl::StartsWith(HeadOf(plan), text)) {
    return CheckHead(text, plan);
  }
  if (ftruncate(fd_, static_cast<off_t>(whole)) != 0) {
    return FileError(errno, absl::StrCat("cannot cut the torn tail of ", path_));
  }
  {
    absl::MutexLock lock(&mutex_);
    size_ = whole;
  }
  // Killed before the first line was whole: nothing was written yet.
  if (whole == 0) return Start(dir, plan);

  std::map<std::string, JournalEntry> last;
  for (size_t begin = text.find('\n') + 1; begin < whole;) {
    const size_t end = text.find('\n', begin);
    std::optional<JournalEntry> entry =
        ParseEntry(absl::string_view(text).substr(begin, end - begin));
    begin = end + 1;
    if (!entry.has_value()) continue;
    std::string module = entry->module;
    last.insert_or_assign(std::move(module), *std::move(entry));
  }
  for (auto& [module, entry] : last) entries->push_back(std::move(entry));
  return absl::OkStatus();
}

absl::Status Journal::Append(const JournalEntry& entry) {
  Json json;
  json["module"] = entry.module;
  json["source"] = entry.source.Hex();
  json["digests"] = Json::array();
  for (const Digest& digest : entry.digests) json["digests"].push_back(digest.Hex());
  json["report"] = entry.report_json;
  if (!entry.outcome_json.empty()) json["outcome"] = entry.outcome_json;
  const std::string line = Dump(json);
  absl::MutexLock lock(&mutex_);
  return WriteLine(line);
}

absl::Status Journal::WriteLine(absl::string_view line) {
  const std::string whole = absl::StrCat(line, "\n");
  absl::Status status = WriteFully(
      fd_, size_, {reinterpret_cast<const std::byte*>(whole.data()), whole.size()}, path_);
  if (status.ok() && fdatasync(fd_) != 0) {
    status = FileError(errno, absl::StrCat("cannot sync ", path_));
  }
  if (!status.ok()) {
    // The next line must not continue a torn one. Should this fail too, the torn line is skipped
    // later.
    const int cut = ftruncate(fd_, static_cast<off_t>(size_));
    static_cast<void>(cut);
    return status;
  }
  size_ += whole.size();
  return absl::OkStatus();
}

absl::Status Journal::Remove() {
  if (unlink(path_.c_str()) != 0) return FileError(errno, absl::StrCat("cannot remove ", path_));
  return absl::OkStatus();
}

}  // namespace quantd
