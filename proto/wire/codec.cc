// Headers, declarations and layouts.
#include "proto/wire/codec.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "proto/wire/codec_parts.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"

namespace quantd::wire {
namespace {

constexpr int kMaxPriority = 10;
constexpr uint32_t kMaxCheckpointSeconds = 0x7FFFFFFF;

static_assert(v1::DType_MAX == static_cast<int>(DType::kU64));
static_assert(v1::DTYPE_F32 == static_cast<int>(DType::kF32));
static_assert(v1::DTYPE_F16 == static_cast<int>(DType::kF16));
static_assert(v1::DTYPE_BF16 == static_cast<int>(DType::kBF16));
static_assert(v1::DTYPE_F64 == static_cast<int>(DType::kF64));
static_assert(v1::DTYPE_I64 == static_cast<int>(DType::kI64));
static_assert(v1::DTYPE_I32 == static_cast<int>(DType::kI32));
static_assert(v1::DTYPE_I16 == static_cast<int>(DType::kI16));
static_assert(v1::DTYPE_I8 == static_cast<int>(DType::kI8));
static_assert(v1::DTYPE_U8 == static_cast<int>(DType::kU8));
static_assert(v1::DTYPE_BOOL == static_cast<int>(DType::kBool));
static_assert(v1::DTYPE_F8_E4M3 == static_cast<int>(DType::kF8E4M3));
static_assert(v1::DTYPE_F8_E5M2 == static_cast<int>(DType::kF8E5M2));
static_assert(v1::DTYPE_U16 == static_cast<int>(DType::kU16));
static_assert(v1::DTYPE_U32 == static_cast<int>(DType::kU32));
static_assert(v1::Role_MAX == static_cast<int>(Role::kCheckpoint));
static_assert(v1::ROLE_WEIGHT == static_cast<int>(Role::kWeight));
static_assert(v1::ROLE_HESSIAN == static_cast<int>(Role::kHessian));
static_assert(v1::ROLE_ACTIVATIONS == static_cast<int>(Role::kActivations));
static_assert(v1::ROLE_CHANNEL_ABS_MEAN == static_cast<int>(Role::kChannelAbsMean));
static_assert(v1::ROLE_CHANNEL_ABS_MAX == static_cast<int>(Role::kChannelAbsMax));
static_assert(v1::ROLE_FISHER == static_cast<int>(Role::kFisher));
static_assert(v1::ROLE_CROSS_MOMENT == static_cast<int>(Role::kCrossMoment));
static_assert(v1::ROLE_TOKEN_WEIGHT == static_cast<int>(Role::kTokenWeight));
static_assert(v1::ROLE_GRADIENT == static_cast<int>(Role::kGradient));
static_assert(v1::ROLE_ROTATION_SIGNS == static_cast<int>(Role::kRotationSigns));
static_assert(v1::ROLE_CODEBOOKS == static_cast<int>(Role::kCodebooks));
static_assert(v1::ROLE_SCALES == static_cast<int>(Role::kScales));
static_assert(v1::ROLE_CODES == static_cast<int>(Role::kCodes));
static_assert(v1::ROLE_CHECKPOINT == static_cast<int>(Role::kCheckpoint));
static_assert(v1::OnDegraded_MAX == static_cast<int>(OnDegraded::kReject));
static_assert(v1::ON_DEGRADED_ACCEPT == static_cast<int>(OnDegraded::kAccept));

struct NamedLayout {
  absl::string_view name;
  v1::Layout layout;
};
constexpr NamedLayout kLayouts[] = {
    {"plain", v1::LAYOUT_PLAIN},
    {"compressed-tensors", v1::LAYOUT_COMPRESSED_TENSORS},
    {"gptq", v1::LAYOUT_GPTQ},
    {"gptq-v2", v1::LAYOUT_GPTQ_V2},
    {"int-quantized", v1::LAYOUT_INT_QUANTIZED},
    {"float-quantized", v1::LAYOUT_FLOAT_QUANTIZED},
    {"nvfp4-pack-quantized", v1::LAYOUT_NVFP4_PACK_QUANTIZED},
    {"mxfp4-pack-quantized", v1::LAYOUT_MXFP4_PACK_QUANTIZED},
    {"mxfp8-quantized", v1::LAYOUT_MXFP8_QUANTIZED},
    {"bitsandbytes", v1::LAYOUT_BITSANDBYTES},
    {"spqr", v1::LAYOUT_SPQR},
    {"aqlm", v1::LAYOUT_AQLM},
};
static_assert(v1::Layout_MAX == std::size(kLayouts));

absl::Status ParseShape(const v1::TensorDecl& message, const FieldPath& path, TensorDecl* decl) {
  if (message.shape_size() > kMaxDimensions) {
    return Invalid(path,
                   absl::StrCat(message.shape_size(), " dimensions, at most ", kMaxDimensions));
  }
  decl->shape.assign(message.shape().begin(), message.shape().end());
  for (int64_t dimension : decl->shape) {
    if (dimension < 0) {
      return Invalid(path, absl::StrCat(ShapeString(decl->shape), " of tensor ", Shown(decl->name),
                                        " has the negative dimension ", dimension));
    }
  }
  const absl::StatusOr<uint64_t> bytes = CheckedBytes(decl->shape, decl->dtype, decl->name);
  if (bytes.ok()) return absl::OkStatus();
  return absl::Status(bytes.status().code(),
                      absl::StrCat(path.ToString(), ": ", bytes.status().message()));
}

// Declarations in `*decls`, their names unique.
absl::Status ParseDecls(const google::protobuf::RepeatedPtrField<v1::TensorDecl>& messages,
                        const FieldPath& root, std::vector<TensorDecl>* decls) {
  if (messages.size() > kMaxTensors) {
    return Invalid(root.Field("tensors"),
                   absl::StrCat(messages.size(), " declarations, at most ", kMaxTensors));
  }
  absl::flat_hash_set<absl::string_view> names;
  names.reserve(messages.size());
  decls->resize(messages.size());
  for (int i = 0; i < messages.size(); ++i) {
    const FieldPath path = root.At("tensors", i);
    QUANTD_RETURN_IF_ERROR(ParseDecl(messages[i], path, &(*decls)[i]));
    if (!names.insert(messages[i].name()).second) {
      return Invalid(path.Field("name"),
                     absl::StrCat(Shown(messages[i].name()), " is declared twice"));
    }
  }
  return absl::OkStatus();
}

absl::Status ParseWeight(const v1::DequantizeHeader::Weight& message, const FieldPath& path,
                         PackedWeight* weight) {
  QUANTD_RETURN_IF_ERROR(CheckName(path.Field("name"), message.name()));
  weight->name = message.name();
  QUANTD_RETURN_IF_ERROR(
      Require(message.rows() >= 0, path.Field("rows"), message.rows(), "0..2^63-1"));
  QUANTD_RETURN_IF_ERROR(
      Require(message.cols() >= 0, path.Field("cols"), message.cols(), "0..2^63-1"));
  weight->rows = message.rows();
  weight->cols = message.cols();
  QUANTD_ASSIGN_OR_RETURN(weight->spec, ParseSpec(message.spec(), path.Field("spec")));
  return absl::OkStatus();
}

absl::Status ParseWeights(const v1::DequantizeHeader& header, const FieldPath& root,
                          std::vector<PackedWeight>* weights) {
  if (header.weights_size() > kMaxTensors) {
    return Invalid(root.Field("weights"),
                   absl::StrCat(header.weights_size(), " weights, at most ", kMaxTensors));
  }
  absl::flat_hash_set<absl::string_view> names;
  weights->resize(header.weights_size());
  for (int i = 0; i < header.weights_size(); ++i) {
    const FieldPath path = root.At("weights", i);
    QUANTD_RETURN_IF_ERROR(ParseWeight(header.weights(i), path, &(*weights)[i]));
    if (!names.insert(header.weights(i).name()).second) {
      return Invalid(path.Field("name"),
                     absl::StrCat(Shown(header.weights(i).name()), " is named twice"));
    }
  }
  return absl::OkStatus();
}

absl::Status ParseLayout(v1::Layout layout, const FieldPath& path, std::string* name) {
  *name = LayoutFromProto(layout);
  if (!name->empty()) return absl::OkStatus();
  return Invalid(path, absl::StrCat(static_cast<int>(layout), " is not a layout"));
}

absl::Status ParsePriority(int priority, const FieldPath& path, int* out) {
  *out = priority;
  return Require(priority >= -kMaxPriority && priority <= kMaxPriority, path, priority, "-10..10");
}

absl::Status ParseTokens(int64_t tokens, const FieldPath& path, int64_t* out) {
  *out = tokens;
  return Require(tokens >= 0, path, tokens, "0..2^63-1");
}

}  // namespace

absl::Status ParseDecl(const v1::TensorDecl& message, const FieldPath& path, TensorDecl* decl) {
  QUANTD_RETURN_IF_ERROR(CheckName(path.Field("name"), message.name()));
  decl->name = message.name();
  QUANTD_RETURN_IF_ERROR(
      TakeRequiredEnum(path.Field("role"), message.role(), v1::Role_IsValid, &decl->role));
  QUANTD_RETURN_IF_ERROR(
      TakeRequiredEnum(path.Field("dtype"), message.dtype(), v1::DType_IsValid, &decl->dtype));
  QUANTD_RETURN_IF_ERROR(ParseShape(message, path.Field("shape"), decl));
  if (!message.of().empty()) {
    QUANTD_RETURN_IF_ERROR(CheckName(path.Field("of"), message.of()));
    decl->of = message.of();
  }
  if (message.digest().empty()) return absl::OkStatus();
  return TakeDigest(path.Field("digest"), message.digest(), &decl->digest.emplace());
}

void PutDecl(const TensorDecl& decl, v1::TensorDecl* message) {
  message->Clear();
  message->set_name(decl.name);
  message->set_role(static_cast<v1::Role>(decl.role));
  message->set_dtype(static_cast<v1::DType>(decl.dtype));
  message->set_of(decl.of);
  message->mutable_shape()->Add(decl.shape.begin(), decl.shape.end());
  if (decl.digest.has_value()) {
    message->set_digest(decl.digest->bytes.data(), decl.digest->bytes.size());
  }
}

absl::StatusOr<QuantizeJob> FromProto(const v1::QuantizeHeader& header) {
  const FieldPath root;
  QuantizeJob job;
  QUANTD_RETURN_IF_ERROR(CheckJobId(root.Field("job_id"), header.job_id()));
  job.id = header.job_id();
  QUANTD_RETURN_IF_ERROR(ParseDecls(header.tensors(), root, &job.tensors));
  QUANTD_ASSIGN_OR_RETURN(job.spec, ParseSpec(header.spec(), root.Field("spec")));
  QUANTD_RETURN_IF_ERROR(TakeEnum(FieldPath("policy.on_degraded"), header.policy().on_degraded(),
                                  v1::OnDegraded_IsValid, &job.policy.on_degraded));
  QUANTD_RETURN_IF_ERROR(ParseLayout(header.layout(), root.Field("layout"), &job.layout));
  QUANTD_RETURN_IF_ERROR(ParsePriority(header.priority(), root.Field("priority"), &job.priority));
  QUANTD_RETURN_IF_ERROR(ParseTokens(header.calibration_tokens(), root.Field("calibration_tokens"),
                                     &job.calibration_tokens));
  QUANTD_RETURN_IF_ERROR(Require(header.checkpoint_seconds() <= kMaxCheckpointSeconds,
                                 root.Field("checkpoint_seconds"), header.checkpoint_seconds(),
                                 "0..2^31-1"));
  job.checkpoint_seconds = static_cast<int>(header.checkpoint_seconds());
  return job;
}

absl::StatusOr<MeasureJob> FromProto(const v1::MeasureHeader& header) {
  const FieldPath root;
  MeasureJob job;
  QUANTD_RETURN_IF_ERROR(CheckJobId(root.Field("job_id"), header.job_id()));
  job.id = header.job_id();
  QUANTD_RETURN_IF_ERROR(ParseDecls(header.tensors(), root, &job.tensors));
  if (header.candidates_size() < 1 || header.candidates_size() > kMaxTensors) {
    return Invalid(root.Field("candidates"),
                   absl::StrCat(header.candidates_size(), " are not 1..", kMaxTensors));
  }
  for (int i = 0; i < header.candidates_size(); ++i) {
    QUANTD_ASSIGN_OR_RETURN(Spec spec, ParseSpec(header.candidates(i), root.At("candidates", i)));
    job.candidates.push_back(std::move(spec));
  }
  QUANTD_RETURN_IF_ERROR(ParseLayout(header.layout(), root.Field("layout"), &job.layout));
  QUANTD_RETURN_IF_ERROR(ParsePriority(header.priority(), root.Field("priority"), &job.priority));
  QUANTD_RETURN_IF_ERROR(ParseTokens(header.calibration_tokens(), root.Field("calibration_tokens"),
                                     &job.calibration_tokens));
  return job;
}

absl::StatusOr<DequantizeJob> FromProto(const v1::DequantizeHeader& header) {
  const FieldPath root;
  DequantizeJob job;
  QUANTD_RETURN_IF_ERROR(CheckJobId(root.Field("job_id"), header.job_id()));
  job.id = header.job_id();
  QUANTD_RETURN_IF_ERROR(ParseWeights(header, root, &job.weights));
  QUANTD_RETURN_IF_ERROR(ParseDecls(header.tensors(), root, &job.tensors));
  QUANTD_RETURN_IF_ERROR(ParseLayout(header.layout(), root.Field("layout"), &job.layout));
  const FieldPath output_dtype("output_dtype");
  QUANTD_RETURN_IF_ERROR(
      TakeEnum(output_dtype, header.output_dtype(), v1::DType_IsValid, &job.output_dtype));
  if (!IsRealDType(job.output_dtype)) {
    return Invalid(output_dtype,
                   absl::StrCat(DTypeName(job.output_dtype), " is not in F32, F16, BF16"));
  }
  QUANTD_RETURN_IF_ERROR(ParsePriority(header.priority(), root.Field("priority"), &job.priority));
  return job;
}

void Put(const QuantizeJob& job, v1::QuantizeHeader* header) {
  header->Clear();
  header->set_job_id(job.id);
  header->mutable_tensors()->Reserve(static_cast<int>(job.tensors.size()));
  for (const TensorDecl& decl : job.tensors) PutDecl(decl, header->add_tensors());
  Put(job.spec, header->mutable_spec());
  header->mutable_policy()->set_on_degraded(static_cast<v1::OnDegraded>(job.policy.on_degraded));
  header->set_layout(LayoutToProto(job.layout));
  header->set_priority(job.priority);
  header->set_calibration_tokens(job.calibration_tokens);
  header->set_checkpoint_seconds(static_cast<uint32_t>(std::max(job.checkpoint_seconds, 0)));
}

void Put(const MeasureJob& job, v1::MeasureHeader* header) {
  header->Clear();
  header->set_job_id(job.id);
  header->mutable_tensors()->Reserve(static_cast<int>(job.tensors.size()));
  for (const TensorDecl& decl : job.tensors) PutDecl(decl, header->add_tensors());
  for (const Spec& spec : job.candidates) Put(spec, header->add_candidates());
  header->set_layout(LayoutToProto(job.layout));
  header->set_priority(job.priority);
  header->set_calibration_tokens(job.calibration_tokens);
}

void Put(const DequantizeJob& job, v1::DequantizeHeader* header) {
  header->Clear();
  header->set_job_id(job.id);
  for (const PackedWeight& weight : job.weights) {
    v1::DequantizeHeader::Weight* message = header->add_weights();
    message->set_name(weight.name);
    message->set_rows(weight.rows);
    message->set_cols(weight.cols);
    Put(weight.spec, message->mutable_spec());
  }
  header->mutable_tensors()->Reserve(static_cast<int>(job.tensors.size()));
  for (const TensorDecl& decl : job.tensors) PutDecl(decl, header->add_tensors());
  header->set_layout(LayoutToProto(job.layout));
  header->set_output_dtype(static_cast<v1::DType>(job.output_dtype));
  header->set_priority(job.priority);
}

v1::Layout LayoutToProto(const std::string& name) {
  for (const NamedLayout& known : kLayouts) {
    if (known.name == name) return known.layout;
  }
  return v1::LAYOUT_UNSPECIFIED;
}

std::string LayoutFromProto(v1::Layout layout) {
  for (const NamedLayout& known : kLayouts) {
    if (known.layout == layout) return std::string(known.name);
  }
  return "";
}

}  // namespace quantd::wire
