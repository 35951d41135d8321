#include "workers/engine/check.h"

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

constexpr size_t kMaxIdBytes = 128;

absl::Status Invalid(const std::string& text) { return absl::InvalidArgumentError(text); }

absl::Status CheckWeight(const QuantizeJob& job, const TensorDecl& t, const Layout& layout) {
  const int64_t m = t.shape[0], n = t.shape[1];
  const Partition& p = job.spec.partition;
  if (p.granularity == Granularity::kGroup && n % p.GroupColumns(n) != 0 &&
      p.tail == TailPolicy::kReject) {
    return Invalid(absl::StrCat("tensor '", t.name, "': group_size ", p.group_size,
                                " does not divide its ", n,
                                " columns; choose a divisor or tail short-last-group"));
  }
  if (p.granularity == Granularity::kGroup && p.group_size > n && p.tail == TailPolicy::kReject) {
    return Invalid(absl::StrCat("tensor '", t.name, "': group_size ", p.group_size,
                                " is above its ", n, " columns; use granularity row"));
  }
  const absl::Status accepts = layout.Accepts(job.spec, m, n);
  if (!accepts.ok()) {
    return absl::Status(accepts.code(), absl::StrCat("tensor '", t.name, "': ", accepts.message()));
  }
  return absl::OkStatus();
}

absl::Status CheckStatistics(const TensorDecl& t, int64_t n) {
  const bool square = t.shape.size() == 2 && t.shape[0] == n && t.shape[1] == n;
  const bool triangle = t.shape.size() == 1 && t.shape[0] == n * (n + 1) / 2;
  if (t.role == Role::kHessian && !square && !triangle) {
    return Invalid(absl::StrCat("tensor '", t.name, "': shape ", ShapeString(t.shape), " is not [",
                                n, ", ", n, "] nor the triangle [", n * (n + 1) / 2,
                                "] of weights with ", n, " columns"));
  }
  if (t.role == Role::kActivations && (t.shape.size() != 2 || t.shape[1] != n || t.shape[0] < 1)) {
    return Invalid(absl::StrCat("tensor '", t.name, "': shape ", ShapeString(t.shape),
                                " is not [T, ", n, "] with T at least 1"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckDeclarations(const std::string& id, const std::vector<TensorDecl>& tensors,
                               const JobLimits& limits) {
  if (id.empty() || id.size() > kMaxIdBytes) {
    return Invalid(absl::StrCat("job_id: ", id.size(), " bytes are not 1..", kMaxIdBytes));
  }
  for (unsigned char c : id) {
    if (!absl::ascii_isprint(c)) return Invalid("job_id: has a byte that is not printable ASCII");
  }
  if (tensors.empty()) return Invalid("tensors: none declared");
  if (static_cast<int>(tensors.size()) > limits.max_tensors) {
    return Invalid(
        absl::StrCat("tensors: ", tensors.size(), " are above the limit of ", limits.max_tensors));
  }
  std::set<std::string> names;
  uint64_t total = 0;
  for (const TensorDecl& t : tensors) {
    if (t.name.empty()) return Invalid("tensors: a name is empty");
    if (!names.insert(t.name).second) {
      return Invalid(absl::StrCat("tensor '", t.name, "': declared twice"));
    }
    for (int64_t d : t.shape) {
      if (d > limits.max_dimension &&
          !(t.shape.size() == 1 && t.role == Role::kHessian)) {  // a triangle is long by nature
        return absl::OutOfRangeError(absl::StrCat("tensor '", t.name, "': shape ",
                                                  ShapeString(t.shape), " passes the limit of ",
                                                  limits.max_dimension, " a dimension"));
      }
    }
    QUANTD_ASSIGN_OR_RETURN(const uint64_t bytes, CheckedBytes(t.shape, t.dtype, t.name));
    if (bytes > limits.max_upload_bytes - total) {
      return absl::OutOfRangeError(absl::StrCat("tensor '", t.name,
                                                "': the upload passes the limit of ",
                                                limits.max_upload_bytes, " bytes"));
    }
    total += bytes;
  }
  return absl::OkStatus();
}

absl::StatusOr<QuantizeShape> CheckQuantize(const QuantizeJob& job, const Method& method,
                                            const Layout& layout, const JobLimits& limits) {
  QUANTD_RETURN_IF_ERROR(CheckDeclarations(job.id, job.tensors, limits));
  QUANTD_RETURN_IF_ERROR(method.Check(job.spec));
  QuantizeShape shape;
  std::set<std::string> modules;
  for (int i = 0; i < static_cast<int>(job.tensors.size()); ++i) {
    const TensorDecl& t = job.tensors[i];
    if (!IsRealDType(t.dtype)) {
      return Invalid(absl::StrCat("tensor '", t.name, "': dtype ", DTypeName(t.dtype),
                                  " is not F32, F16 or BF16"));
    }
    if (t.role == Role::kWeight) {
      if (!modules.insert(ModuleName(t.name)).second) {
        return Invalid(absl::StrCat("tensor '", t.name, "': another weight is of module '",
                                    ModuleName(t.name),
                                    "', too; packed tensors would share names"));
      }
      if (t.shape.size() != 2 || t.shape[0] < 1 || t.shape[1] < 1) {
        return Invalid(absl::StrCat("tensor '", t.name, "': a weight has shape [m, n], got ",
                                    ShapeString(t.shape)));
      }
      if (shape.weights.empty()) shape.n = t.shape[1];
      if (t.shape[1] != shape.n) {
        return Invalid(absl::StrCat("tensor '", t.name, "': has ", t.shape[1],
                                    " columns, the first weight of the request has ", shape.n));
      }
      shape.weights.push_back(i);
    } else if (t.role == Role::kHessian || t.role == Role::kActivations) {
      if (shape.statistics >= 0) {
        return Invalid(absl::StrCat("tensor '", t.name,
                                    "': one HESSIAN or ACTIVATIONS a request, '",
                                    job.tensors[shape.statistics].name, "' came first"));
      }
      shape.statistics = i;
    } else {
      return Invalid(absl::StrCat("tensor '", t.name, "': role ", RoleName(t.role),
                                  " is of no use to method ", method.name()));
    }
  }
  if (shape.weights.empty()) return Invalid("tensors: no WEIGHT declared");
  for (int i : shape.weights) QUANTD_RETURN_IF_ERROR(CheckWeight(job, job.tensors[i], layout));
  if (shape.statistics >= 0) {
    QUANTD_RETURN_IF_ERROR(CheckStatistics(job.tensors[shape.statistics], shape.n));
  } else if (method.NeedsHessian()) {
    return absl::FailedPreconditionError(
        absl::StrCat("method ", method.name(), " needs a HESSIAN or ACTIVATIONS tensor for '",
                     job.tensors[shape.weights[0]].name, "'; none is declared"));
  }
  return shape;
}

}  // namespace quantd
