// Generated messages <-> domain structs. The only C++ that knows both.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/wire/frames.h"
#include "quantd/v1/quantization_service.pb.h"
#include "workers/core/job.h"

namespace quantd::wire {

// Parsing: unknown enum values, missing oneofs and out-of-range numbers are INVALID_ARGUMENT with
// the field's path and value ("spec.levels.bits: 9 is not in 2..8"). Fields at their zero value
// take the method's preset default (see spec.proto); cross-axis checks are the engine's.
absl::StatusOr<QuantizeJob> FromProto(const v1::QuantizeHeader& header);
absl::StatusOr<MeasureJob> FromProto(const v1::MeasureHeader& header);
absl::StatusOr<DequantizeJob> FromProto(const v1::DequantizeHeader& header);
absl::StatusOr<Spec> FromProto(const v1::QuantizationSpec& spec);

// `message` is consumed: chunk bytes move out of it without a copy.
absl::StatusOr<RequestFrame> TakeFrame(v1::QuantizeRequest* message);
absl::StatusOr<RequestFrame> TakeFrame(v1::MeasureRequest* message);
absl::StatusOr<RequestFrame> TakeFrame(v1::DequantizeRequest* message);
absl::StatusOr<ResponseFrame> TakeFrame(v1::QuantizeResponse* message);
absl::StatusOr<ResponseFrame> TakeFrame(v1::MeasureResponse* message);
absl::StatusOr<ResponseFrame> TakeFrame(v1::DequantizeResponse* message);

// Writing: total; `frame` is consumed. Reuses what `message` holds.
void Put(const QuantizeJob& job, v1::QuantizeHeader* header);
void Put(const MeasureJob& job, v1::MeasureHeader* header);
void Put(const DequantizeJob& job, v1::DequantizeHeader* header);
void Put(const Spec& spec, v1::QuantizationSpec* message);
void PutFrame(RequestFrame frame, v1::QuantizeRequest* message);
void PutFrame(RequestFrame frame, v1::MeasureRequest* message);
void PutFrame(RequestFrame frame, v1::DequantizeRequest* message);
// A frame that the stream does not have: a bug.
void PutFrame(ResponseFrame frame, v1::QuantizeResponse* message);
void PutFrame(ResponseFrame frame, v1::MeasureResponse* message);
void PutFrame(ResponseFrame frame, v1::DequantizeResponse* message);

// Layout names ("gptq-v2") <-> enum. UNSPECIFIED / "" when unknown.
v1::Layout LayoutToProto(const std::string& name);
std::string LayoutFromProto(v1::Layout layout);

}  // namespace quantd::wire
