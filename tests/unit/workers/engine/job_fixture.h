// Runs jobs without a server: declarations and bytes in, outputs and report out.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/reference/synthetic.h"
#include "workers/core/float16.h"
#include "workers/engine/engine.h"

namespace quantd {

class RecordedProgress : public ProgressSink {
 public:
  void OnProgress(Phase, double fraction) override { last = fraction; }
  void OnRound(int weight, int round, double relative_loss) override {
    rounds.push_back({weight, round, relative_loss});
  }
  struct Round {
    int weight = 0;
    int round = 0;
    double loss = 0;
  };
  std::atomic<double> last{0};
  std::vector<Round> rounds;
};

// Wants every state, and keeps them all.
class RecordedStates : public StateSink {
 public:
  bool Due() override { return true; }
  void Save(std::string state) override { states.push_back(std::move(state)); }
  std::vector<std::string> states;
};

class JobFixture : public ::testing::Test {
 protected:
  struct Upload {
    TensorDecl decl;
    std::vector<std::byte> bytes;
  };

  static Upload F32(const std::string& name, Role role, Shape shape,
                    const std::vector<float>& values) {
    Upload u{{name, role, DType::kF32, std::move(shape), std::nullopt, ""}, {}};
    u.bytes.resize(values.size() * 4);
    std::memcpy(u.bytes.data(), values.data(), u.bytes.size());
    return u;
  }

  static Upload Bf16(const std::string& name, Role role, Shape shape,
                     const std::vector<float>& values) {
    Upload u{{name, role, DType::kBF16, std::move(shape), std::nullopt, ""}, {}};
    u.bytes.resize(values.size() * 2);
    for (size_t i = 0; i < values.size(); ++i) {
      const uint16_t bits = ToBF16(values[i]);
      std::memcpy(u.bytes.data() + 2 * i, &bits, 2);
    }
    return u;
  }

  // The bytes of an array as a tensor of `dtype`, whose elements are T.
  template <typename T>
  static Upload Raw(const std::string& name, Role role, DType dtype, Shape shape,
                    const std::vector<T>& values) {
    Upload u{{name, role, dtype, std::move(shape), std::nullopt, ""}, {}};
    u.bytes.resize(values.size() * sizeof(T));
    std::memcpy(u.bytes.data(), values.data(), u.bytes.size());
    return u;
  }

  static Upload Checkpoint(const std::string& state) {
    return Raw("state", Role::kCheckpoint, DType::kU8, {static_cast<int64_t>(state.size())},
               std::vector<char>(state.begin(), state.end()));
  }

  static QuantizeJob RtnJob(const std::vector<Upload>& uploads) {
    QuantizeJob job;
    job.id = "test";
    job.layout = "compressed-tensors";
    job.spec = DefaultsOf("rtn");
    for (const Upload& u : uploads) job.tensors.push_back(u.decl);
    return job;
  }

  static QuantizeJob GptqJob(const std::vector<Upload>& uploads) {
    QuantizeJob job = RtnJob(uploads);
    job.spec = DefaultsOf("gptq");
    return job;
  }

  static Spec DefaultsOf(const std::string& method) {
    for (const MethodInfo& m : ListMethods()) {
      if (m.name == method) return m.defaults;
    }
    ADD_FAILURE() << "no method " << method;
    return Spec();
  }

  // `piece` bytes at a time, tensors interleaved.
  template <typename AnyJob>
  absl::StatusOr<JobResult> Run(const AnyJob& job, const std::vector<Upload>& uploads,
                                size_t piece = size_t{1} << 20, Executor* executor = nullptr) {
    auto created = Job::Create(job, JobLimits(), 2);
    if (!created.ok()) return created.status();
    InlineExecutor inline_executor;
    RunContext context{executor != nullptr ? executor : &inline_executor, &cancel_, &progress_,
                       states_};
    if (absl::Status s = (*created)->Begin(context); !s.ok()) return s;
    bool more = true;
    for (size_t at = 0; more; at += piece) {
      more = false;
      for (size_t i = 0; i < uploads.size(); ++i) {
        if (at >= uploads[i].bytes.size()) continue;
        const size_t take = std::min(piece, uploads[i].bytes.size() - at);
        const absl::Status s =
            (*created)->Write(static_cast<int>(i), at, {uploads[i].bytes.data() + at, take});
        if (!s.ok()) return s;
        more = true;
      }
    }
    for (size_t i = 0; i < uploads.size(); ++i) {
      (*created)->Complete(static_cast<int>(i), DigestOf(uploads[i].bytes));
    }
    cost_ = (*created)->cost();
    return (*created)->Run(context);
  }

  static std::vector<std::string> Digests(const JobResult& result) {
    std::vector<std::string> hex;
    for (const Output& o : result.outputs) hex.push_back(o.decl.name + " " + o.digest.Hex());
    return hex;
  }

  // Dense F32 weights out of the outputs of a Quantize job.
  std::vector<std::vector<float>> Dense(const QuantizeJob& job, const JobResult& result) {
    DequantizeJob back;
    back.id = "back";
    back.layout = job.layout;
    std::vector<Upload> uploads;
    for (const TensorReport& r : result.report.tensors) {
      back.weights.push_back({r.name, r.rows, r.cols, r.spec});
    }
    for (const Output& o : result.outputs) {
      Upload u{{o.decl.name, Role::kPacked, o.decl.dtype, o.decl.shape, std::nullopt, ""}, {}};
      u.bytes.assign(o.bytes.data(), o.bytes.data() + o.bytes.size());
      back.tensors.push_back(u.decl);
      uploads.push_back(std::move(u));
    }
    std::vector<std::vector<float>> dense;
    const absl::StatusOr<JobResult> decoded = Run(back, uploads);
    EXPECT_TRUE(decoded.ok()) << decoded.status();
    if (!decoded.ok()) return dense;
    for (const Output& o : decoded->outputs) {
      const auto values = o.bytes.As<float>();
      dense.emplace_back(values.begin(), values.end());
    }
    return dense;
  }

  CancelToken cancel_;
  RecordedProgress progress_;
  StateSink* states_ = nullptr;
  Cost cost_;
};

}  // namespace quantd
