#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/compose/basis.h"
#include "workers/compose/plan.h"
#include "workers/compose/row_order.h"
#include "workers/core/float16.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/engine/check.h"
#include "workers/engine/cost.h"
#include "workers/engine/engine.h"
#include "workers/engine/weight_totals.h"
#include "workers/levels/decode.h"
#include "workers/linalg/convert.h"
#include "workers/methods/check.h"

namespace quantd {
namespace {

// Indices of each weight's packed tensors, in the layout's order.
using Parts = std::vector<std::vector<int>>;

class DequantizeJobImpl : public Job {
 public:
  DequantizeJobImpl(DequantizeJob job, const Layout* layout, Parts parts, int width)
      : job_(std::move(job)),
        layout_(layout),
        parts_(std::move(parts)),
        cost_(DequantizeCost(job_, *layout_, width)) {
    for (int i = 0; i < static_cast<int>(job_.weights.size()); ++i) {
      const PackedWeight& w = job_.weights[i];
      outputs_.push_back({w.name, i, job_.output_dtype, {w.rows, w.cols}});
      elements_ += static_cast<uint64_t>(w.rows) * static_cast<uint64_t>(w.cols);
    }
  }

  const Cost& cost() const override { return cost_; }
  const std::vector<TensorDecl>& inputs() const override { return job_.tensors; }
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
    const SteadyClock::time_point start = SteadyClock::now();
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
    result.report.seconds.solve = result.report.seconds.total = SecondsSince(start);
    return result;
  }

 private:
  // What one weight is decoded with.
  struct Task {
    const PackedWeight& weight;
    std::vector<PackedView> views;
    CodedShared shared;
    Basis basis;
    RowOrder order;
  };

  absl::StatusOr<Buffer> Decode(size_t index, const RunContext& context) {
    const PackedWeight& w = job_.weights[index];
    const auto named = [&](const absl::Status& s) {
      return absl::Status(s.code(), absl::StrCat("weight '", w.name, "': ", s.message()));
    };
    Task task{w, ViewsOfWeight(index), {}, {}, RowOrder(w.spec, w.rows)};
    absl::StatusOr<CodedShared> shared = layout_->UnpackShared(w.spec, w.rows, w.cols, task.views);
    if (!shared.ok()) return named(shared.status());
    task.shared = *std::move(shared);
    absl::StatusOr<Basis> basis = Basis::Create(w.spec, task.shared, w.rows, w.cols);
    if (!basis.ok()) return named(basis.status());
    task.basis = *std::move(basis);
    QUANTD_ASSIGN_OR_RETURN(const uint64_t bytes,
                            CheckedBytes({w.rows, w.cols}, job_.output_dtype, w.name));
    QUANTD_ASSIGN_OR_RETURN(Buffer dense, Buffer::AllocateUnfilled(bytes));
    const int64_t stripe =
        PlanStripes(w.spec, w.rows, w.cols, layout_->StripeGranule(w.spec), false).measure_rows;
    std::vector<absl::Status> status(CeilDiv(w.rows, stripe));
    context.executor->ParallelFor(static_cast<int64_t>(status.size()), [&](int64_t s) {
      if (context.cancel->cancelled()) return;
      status[s] = DecodeStripe(task, s * stripe, std::min(stripe, w.rows - s * stripe), &dense);
    });
    QUANTD_RETURN_IF_ERROR(context.cancel->Check());
    for (const absl::Status& s : status) {
      if (!s.ok()) return named(s);
    }
    return dense;
  }

  std::vector<PackedView> ViewsOfWeight(size_t index) const {
    const PackedWeight& w = job_.weights[index];
    std::vector<PackedView> views;
    std::vector<PackedDecl> decls = layout_->Declare(w.spec, w.rows, w.cols);
    for (size_t p = 0; p < decls.size(); ++p) {
      const int tensor = parts_[index][p];
      const Buffer& b = inputs_[tensor];
      decls[p].shape = job_.tensors[tensor].shape;
      views.push_back({decls[p], {b.data(), static_cast<size_t>(b.size())}});
    }
    return views;
  }

  absl::Status DecodeStripe(const Task& task, int64_t row, int64_t rows, Buffer* dense) const {
    const PackedWeight& w = task.weight;
    Coded coded;
    QUANTD_RETURN_IF_ERROR(
        layout_->UnpackRows(w.spec, w.rows, w.cols, task.views, task.shared, row, rows, &coded));
    std::vector<float> values(rows * w.cols);
    quantd::Decode(coded, values.data());
    task.basis.Restore(row, rows, values.data());
    const float limit = MaxFinite(job_.output_dtype);
    for (const float v : values) {
      if (!(std::abs(v) <= limit)) {
        return absl::InvalidArgumentError(
            absl::StrCat("value ", v, " is beyond the largest ", DTypeName(job_.output_dtype)));
      }
    }
    const int64_t width = static_cast<int64_t>(DTypeBytes(job_.output_dtype));
    if (task.order.natural()) {
      FromF32(job_.output_dtype, values.data(), dense->data() + row * w.cols * width,
              rows * w.cols);
      return absl::OkStatus();
    }
    for (int64_t r = 0; r < rows; ++r) {
      FromF32(job_.output_dtype, values.data() + r * w.cols,
              dense->data() + task.order.RowOf(row + r) * w.cols * width, w.cols);
    }
    return absl::OkStatus();
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

// A variable first dimension may be anything up to its bound.
bool Fits(const PackedDecl& decl, const Shape& shape) {
  if (!decl.variable) return shape == decl.shape;
  if (shape.size() != decl.shape.size() || shape.empty()) return false;
  return shape[0] >= 0 && shape[0] <= decl.shape[0] &&
         std::equal(shape.begin() + 1, shape.end(), decl.shape.begin() + 1);
}

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
    if (absl::Status s = CheckAxes(w.spec); !s.ok()) return named(s);
    if (IsAdaptive(w.spec)) {
      return named(absl::InvalidArgumentError(
          "spec: an adaptive axis says not what the bytes are; send the spec of the report"));
    }
    if (absl::Status s = CheckShape(w.spec, w.name, w.rows, w.cols); !s.ok()) return s;
    if (absl::Status s = layout.Accepts(w.spec, w.rows, w.cols); !s.ok()) return named(s);
    parts.emplace_back();
    for (const PackedDecl& d : layout.Declare(w.spec, w.rows, w.cols)) {
      const auto it = by_name.find(ModuleName(w.name) + d.suffix);
      if (it == by_name.end()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "weight '", w.name, "': tensor '", ModuleName(w.name), d.suffix, "' is not declared"));
      }
      const TensorDecl& t = job.tensors[it->second];
      if (t.dtype != d.dtype || !Fits(d, t.shape)) {
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
