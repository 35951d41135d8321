#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/float16.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/engine/check.h"
#include "workers/engine/cost.h"
#include "workers/engine/engine.h"
#include "workers/levels/affine.h"
#include "workers/linalg/convert.h"

namespace quantd {
namespace {

// Rows decoded at a time: codes and floats stay in the L2 cache.
constexpr int64_t kStripeRows = Layout::kStripeGranule;

// Indices of each weight's packed tensors, in the layout's order.
using Parts = std::vector<std::vector<int>>;

class DequantizeJobImpl : public Job {
 public:
  DequantizeJobImpl(DequantizeJob job, const Layout* layout, Parts parts, int width)
      : job_(std::move(job)),
        layout_(layout),
        parts_(std::move(parts)),
        cost_(DequantizeCost(job_, width)) {
    for (int i = 0; i < static_cast<int>(job_.weights.size()); ++i) {
      const PackedWeight& w = job_.weights[i];
      outputs_.push_back({w.name, i, job_.output_dtype, {w.rows, w.cols}});
      elements_ += static_cast<uint64_t>(w.rows) * static_cast<uint64_t>(w.cols);
    }
  }

  const Cost& cost() const override { return cost_; }
  const std::vector<TensorDecl>& inputs() const override { return job_.tensors; }
  const std::vector<OutputDecl>& outputs() const override { return outputs_; }
  const Spec& resolved_spec() const override { return job_.weights[0].spec; }
  const std::string& method() const override { return method_name_; }
  uint64_t weight_elements() const override { return elements_; }

  absl::Status Begin(const RunContext&) override {
    for (const TensorDecl& t : job_.tensors) {
      QUANTD_ASSIGN_OR_RETURN(const uint64_t bytes, CheckedBytes(t.shape, t.dtype, t.name));
      QUANTD_ASSIGN_OR_RETURN(Buffer buffer, Buffer::AllocateUnfilled(bytes));
      inputs_.push_back(std::move(buffer));
    }
    return absl::OkStatus();
  }

  absl::Status Write(int index, uint64_t offset, absl::Span<const std::byte> bytes) override {
    std::memcpy(inputs_[index].data() + offset, bytes.data(), bytes.size());
    return absl::OkStatus();
  }

  absl::StatusOr<JobResult> Run(const RunContext& context) override {
    JobResult result;
    result.report.predicted_peak_bytes = cost_.peak_bytes;
    for (size_t w = 0; w < job_.weights.size(); ++w) {
      QUANTD_ASSIGN_OR_RETURN(Buffer dense, Decode(w, context));
      Output out;
      out.decl = outputs_[w];
      out.digest = DigestOf({dense.data(), static_cast<size_t>(dense.size())});
      out.bytes = std::move(dense);
      result.outputs.push_back(std::move(out));
      for (int i : parts_[w]) inputs_[i] = Buffer();
      context.progress->OnProgress(
          Phase::kSolving, static_cast<double>(w + 1) / static_cast<double>(job_.weights.size()));
    }
    return result;
  }

 private:
  absl::StatusOr<Buffer> Decode(size_t weight, const RunContext& context) {
    const PackedWeight& w = job_.weights[weight];
    std::vector<PackedView> views;
    const std::vector<PackedDecl> decls = layout_->Declare(w.spec, w.rows, w.cols);
    for (size_t p = 0; p < decls.size(); ++p) {
      const Buffer& b = inputs_[parts_[weight][p]];
      views.push_back({decls[p], {b.data(), static_cast<size_t>(b.size())}});
    }
    QUANTD_ASSIGN_OR_RETURN(const uint64_t bytes,
                            CheckedBytes({w.rows, w.cols}, job_.output_dtype, w.name));
    QUANTD_ASSIGN_OR_RETURN(Buffer dense, Buffer::AllocateUnfilled(bytes));
    const int64_t stripes = CeilDiv(w.rows, kStripeRows);
    std::vector<absl::Status> status(stripes);
    context.executor->ParallelFor(stripes, [&](int64_t s) {
      if (context.cancel->cancelled()) return;
      const int64_t row = s * kStripeRows, rows = std::min(kStripeRows, w.rows - row);
      Coded coded;
      status[s] = layout_->UnpackRows(w.spec, w.rows, w.cols, views, row, rows, &coded);
      if (!status[s].ok()) return;
      std::vector<float> values(rows * w.cols);
      Dequantize(coded, values.data());
      const float limit = MaxFinite(job_.output_dtype);
      for (const float v : values) {
        if (std::abs(v) > limit) {
          status[s] = absl::InvalidArgumentError(
              absl::StrCat("value ", v, " is beyond the largest ", DTypeName(job_.output_dtype)));
          return;
        }
      }
      FromF32(job_.output_dtype, values.data(),
              dense.data() + row * w.cols * DTypeBytes(job_.output_dtype), rows * w.cols);
    });
    QUANTD_RETURN_IF_ERROR(context.cancel->Check());
    for (const absl::Status& s : status) {
      if (!s.ok()) {
        return absl::Status(s.code(), absl::StrCat("weight '", w.name, "': ", s.message()));
      }
    }
    return dense;
  }

  const DequantizeJob job_;
  const Layout* layout_;
  const Parts parts_;
  const Cost cost_;
  const std::string method_name_ = "dequantize";
  std::vector<OutputDecl> outputs_;
  uint64_t elements_ = 0;
  std::vector<Buffer> inputs_;
};

// Finds each weight's packed tensors among the declarations and checks that nothing is left over.
absl::StatusOr<Parts> MatchParts(const DequantizeJob& job, const Layout& layout,
                                 const JobLimits& limits) {
  std::map<std::string, int> by_name;
  for (int i = 0; i < static_cast<int>(job.tensors.size()); ++i) {
    if (job.tensors[i].role != Role::kPacked) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", job.tensors[i].name, "': role ",
                                                     RoleName(job.tensors[i].role),
                                                     " is not PACKED"));
    }
    by_name[job.tensors[i].name] = i;
  }
  Parts parts;
  for (const PackedWeight& w : job.weights) {
    if (w.rows < 1 || w.cols < 1 || w.rows > limits.max_dimension ||
        w.cols > limits.max_dimension) {
      return absl::InvalidArgumentError(absl::StrCat("weight '", w.name, "': ", w.rows, " x ",
                                                     w.cols, " is not a shape in 1..",
                                                     limits.max_dimension));
    }
    const auto named = [&](const absl::Status& s) {
      return absl::Status(s.code(), absl::StrCat("weight '", w.name, "': ", s.message()));
    };
    if (absl::Status s = CheckAffineAxes(w.spec); !s.ok()) return named(s);
    if (absl::Status s = layout.Accepts(w.spec, w.rows, w.cols); !s.ok()) return named(s);
    parts.emplace_back();
    for (const PackedDecl& d : layout.Declare(w.spec, w.rows, w.cols)) {
      const auto it = by_name.find(ModuleName(w.name) + d.suffix);
      if (it == by_name.end()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "weight '", w.name, "': tensor '", ModuleName(w.name), d.suffix, "' is not declared"));
      }
      const TensorDecl& t = job.tensors[it->second];
      if (t.dtype != d.dtype || t.shape != d.shape) {
        return absl::InvalidArgumentError(absl::StrCat(
            "tensor '", t.name, "': is ", DTypeName(t.dtype), " ", ShapeString(t.shape),
            ", layout ", layout.name(), " has ", DTypeName(d.dtype), " ", ShapeString(d.shape)));
      }
      parts.back().push_back(it->second);
      by_name.erase(it);
    }
  }
  if (!by_name.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", by_name.begin()->first, "': belongs to no weight"));
  }
  return parts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Job>> Job::Create(DequantizeJob job, const JobLimits& limits,
                                                 int width) {
  QUANTD_ASSIGN_OR_RETURN(const Layout* layout, FindLayout(job.layout));
  QUANTD_RETURN_IF_ERROR(CheckDeclarations(job.id, job.tensors, limits));
  if (job.weights.empty()) return absl::InvalidArgumentError("weights: none declared");
  if (!IsRealDType(job.output_dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat("output_dtype: ", DTypeName(job.output_dtype), " is not F32, F16 or BF16"));
  }
  QUANTD_ASSIGN_OR_RETURN(Parts parts, MatchParts(job, *layout, limits));
  return std::unique_ptr<Job>(
      new DequantizeJobImpl(std::move(job), layout, std::move(parts), width));
}

}  // namespace quantd
