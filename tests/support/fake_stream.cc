#include "tests/support/fake_stream.h"

#include "proto/wire/chunker.h"

namespace quantd::testing {

QuantizeJob HeaderFrame(const std::string& id, int priority) {
  QuantizeJob job;
  job.id = id;
  job.spec.method = "rtn";
  job.layout = "gptq";
  job.priority = priority;
  return job;
}

wire::ChunkFrame Chunk(uint64_t offset, uint64_t bytes, uint32_t tensor) {
  wire::ChunkFrame chunk;
  chunk.tensor = tensor;
  chunk.offset = offset;
  chunk.data.assign(bytes, 'q');
  chunk.crc32c =
      wire::Crc32c({reinterpret_cast<const std::byte*>(chunk.data.data()), chunk.data.size()});
  return chunk;
}

char LetterOf(const wire::ResponseFrame& frame) { return "APTcRMFS"[frame.index()]; }

std::string LettersOf(const std::vector<wire::ResponseFrame>& frames) {
  std::string letters;
  for (const wire::ResponseFrame& frame : frames) letters += LetterOf(frame);
  return letters;
}

std::shared_ptr<FakeStream> FakeStream::Open(SessionRegistry* registry, CallInfo info,
                                             Reader reader) {
  auto stream = std::make_shared<FakeStream>();
  stream->reader_ = reader;
  FakeStream* raw = stream.get();
  SessionCallbacks callbacks;
  callbacks.resume_reads = [raw] {
    raw->Enter();
    {
      absl::MutexLock lock(&raw->mutex_);
      ++raw->resumes_;
    }
    raw->Leave();
  };
  callbacks.response_ready = [raw] {
    raw->Enter();
    raw->OnReady();
    raw->Leave();
  };
  callbacks.abort = [raw] {
    raw->Enter();
    {
      absl::MutexLock lock(&raw->mutex_);
      ++raw->aborts_;
    }
    raw->Leave();
  };
  // The stream must live until Finish, and only until then: like a reactor.
  callbacks.finish = [stream](absl::Status status, std::optional<int64_t> pushback_ms) {
    stream->Enter();
    {
      absl::MutexLock lock(&stream->mutex_);
      stream->finished_.push_back({std::move(status), pushback_ms});
    }
    stream->Leave();
  };
  stream->session_ = registry->Create(std::move(info), std::move(callbacks));
  return stream;
}

void FakeStream::Enter() {
  absl::MutexLock lock(&mutex_);
  if (inside_ || !finished_.empty()) broken_ = true;
  inside_ = true;
}

void FakeStream::Leave() {
  absl::MutexLock lock(&mutex_);
  inside_ = false;
}

void FakeStream::OnReady() {
  {
    absl::MutexLock lock(&mutex_);
    ++ready_;
    if (reader_ == Reader::kStalls) return;
  }
  if (Take()) Acknowledge();
}

bool FakeStream::Take() {
  std::optional<wire::ResponseFrame> frame = session_->NextResponse();
  if (!frame) return false;
  absl::MutexLock lock(&mutex_);
  frames_.push_back(*std::move(frame));
  return true;
}

void FakeStream::Acknowledge(bool ok) { session_->OnWriteDone(ok); }

void FakeStream::SetReader(Reader reader) {
  absl::MutexLock lock(&mutex_);
  reader_ = reader;
}

std::vector<wire::ResponseFrame> FakeStream::TakeFrames() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(frames_, {});
}

}  // namespace quantd::testing
