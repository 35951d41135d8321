#include <numeric>
#include <string>
#include <variant>
#include <vector>

#include "gtest/gtest.h"
#include "proto/wire/chunker.h"
#include "proto/wire/codec.h"
#include "proto/wire/field_path.h"
#include "tests/unit/proto/wire/equality.h"
#include "tests/unit/proto/wire/samples.h"
#include "workers/core/spec_fields.h"
#include "workers/methods/method.h"

namespace quantd::wire {
namespace {

// Through bytes, as a peer would see it.
template <typename Message, typename Frame>
auto ThroughTheWire(Frame frame) {
  Message message;
  PutFrame(std::move(frame), &message);
  Message arrived;
  EXPECT_TRUE(arrived.ParseFromString(message.SerializeAsString()));
  return TakeFrame(&arrived);
}

template <typename Message, typename Variant, typename Frame>
void ExpectRoundTrip(const Frame& frame) {
  const auto arrived = ThroughTheWire<Message>(Variant(frame));
  ASSERT_TRUE(arrived.ok()) << arrived.status();
  ASSERT_TRUE(std::holds_alternative<Frame>(*arrived));
  EXPECT_TRUE(std::get<Frame>(*arrived) == frame);
}

// The streams that deliver tensors.
template <typename Frame>
void ExpectBothResponsesCarry(const Frame& frame) {
  ExpectRoundTrip<v1::QuantizeResponse, ResponseFrame>(frame);
  ExpectRoundTrip<v1::DequantizeResponse, ResponseFrame>(frame);
}

template <typename Frame>
void ExpectEveryResponseCarries(const Frame& frame) {
  ExpectBothResponsesCarry(frame);
  ExpectRoundTrip<v1::MeasureResponse, ResponseFrame>(frame);
}

Spec RoundTrip(const Spec& spec) {
  v1::QuantizationSpec message;
  Put(spec, &message);
  const absl::StatusOr<Spec> parsed = FromProto(message);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.value_or(Spec());
}

TEST(CodecRoundTrip, QuantizeJob) {
  ExpectRoundTrip<v1::QuantizeRequest, RequestFrame>(SampleQuantizeJob());
}

TEST(CodecRoundTrip, MeasureJob) {
  ExpectRoundTrip<v1::MeasureRequest, RequestFrame>(SampleMeasureJob());
}

TEST(CodecRoundTrip, DequantizeJob) {
  ExpectRoundTrip<v1::DequantizeRequest, RequestFrame>(SampleDequantizeJob());
}

TEST(CodecRoundTrip, ChunkAndEnd) {
  const ChunkFrame chunk{7, uint64_t{1} << 40, std::string("\0\xFFx", 3), 0xDEADBEEF};
  ExpectRoundTrip<v1::QuantizeRequest, RequestFrame>(chunk);
  ExpectRoundTrip<v1::MeasureRequest, RequestFrame>(chunk);
  ExpectRoundTrip<v1::DequantizeRequest, RequestFrame>(chunk);
  ExpectBothResponsesCarry(chunk);
  ExpectRoundTrip<v1::QuantizeRequest, RequestFrame>(EndFrame{});
  ExpectRoundTrip<v1::MeasureRequest, RequestFrame>(EndFrame{});
  ExpectRoundTrip<v1::DequantizeRequest, RequestFrame>(EndFrame{});
}

TEST(CodecRoundTrip, Responses) {
  ExpectEveryResponseCarries(AcceptedFrame{"job", uint64_t{1} << 50, 1.5, 3, SampleGptqSpec()});
  ExpectEveryResponseCarries(ProgressFrame{Phase::kSolving, 0.25, 12.5, std::nullopt});
  ExpectEveryResponseCarries(ProgressFrame{Phase::kSolving, 0.25, 12.5, {{3, 17, 0.0181}}});
  ExpectEveryResponseCarries(ProgressFrame{Phase::kSolving, 0.25, 12.5, {{0, 0, 0}}});
  ExpectBothResponsesCarry(ResultTensorFrame{4, 2, SampleDecl("a.qweight", Role::kPacked)});
  ExpectEveryResponseCarries(SampleFinal());
  ExpectRoundTrip<v1::QuantizeResponse, ResponseFrame>(TensorReportFrame{SampleReport("a.weight")});
  for (const int candidate : {0, 1, kMaxTensors - 1}) {
    ExpectRoundTrip<v1::MeasureResponse, ResponseFrame>(
        CandidateReportFrame{{candidate, SampleReport("a.weight")}});
  }
  ExpectRoundTrip<v1::QuantizeResponse, ResponseFrame>(
      JobStateFrame{uint64_t{1} << 41, uint64_t{1} << 40, std::string("\0\xFFx", 3), 0xDEADBEEF});
}

// A field that the sample leaves at a default could be lost without a test that sees it.
TEST(CodecRoundTrip, TheSampleSpecIsAwayFromEveryDefault) {
  v1::QuantizationSpec message;
  message.mutable_gptq();
  const Spec preset = *FromProto(message), sample = SampleGptqSpec();
  for (const SpecField& field : SpecFields()) {
    EXPECT_NE(field.get(sample), field.get(Spec())) << field.path;
    if (field.name == "solver") continue;
    EXPECT_NE(field.get(sample), field.get(preset)) << field.path;
  }
}

TEST(CodecRoundTrip, EveryValueOfEverySpecEnumAndBothEndsOfEveryRange) {
  for (const SpecField& field : SpecFields()) {
    Spec spec = SampleGptqSpec();
    std::vector<double> values = {field.min, field.max};
    if (field.type == SpecField::Type::kEnum) {
      values.resize(field.names.size() - 1);
      std::iota(values.begin(), values.end(), 1.0);
    }
    for (const double value : values) {
      field.set(&spec, value);
      ASSERT_EQ(field.get(spec), value) << field.path;
      EXPECT_TRUE(RoundTrip(spec) == spec) << field.path << " " << value;
    }
  }
}

TEST(CodecRoundTrip, EveryMethodWithAllDefaults) {
  for (const Method* method : AllMethods()) {
    EXPECT_TRUE(RoundTrip(method->defaults()) == method->defaults()) << method->name;
  }
}

TEST(CodecRoundTrip, ZeroWhereZeroIsAValue) {
  Spec spec = SampleGptqSpec();
  spec.solve.damping.fraction = 0;
  spec.solve.asymmetric = 0;
  spec.solve.descent_passes = 0;
  spec.solve.fallback_descent_passes = 0;
  spec.transform.rotation_block = 0;
  spec.transform.rotation_seed = 0;
  spec.transform.correction_damping = 0;
  spec.exceptions.share = 0;
  spec.exceptions.max_share = 0;
  spec.partition.strided = false;
  spec.fit.seed = 0;
  spec.fit.refine_rounds = 0;
  spec.fit.points_per_center = 0;
  spec.solve.rounds = 0;
  spec.solve.tolerance = 0;
  EXPECT_TRUE(RoundTrip(spec) == spec);
}

TEST(CodecRoundTrip, AReportWithoutASpecHasNone) {
  TensorReport report = SampleReport("a.weight");
  report.spec = Spec();
  ExpectRoundTrip<v1::QuantizeResponse, ResponseFrame>(TensorReportFrame{report});
  v1::QuantizeResponse message;
  PutFrame(ResponseFrame(TensorReportFrame{report}), &message);
  EXPECT_FALSE(message.tensor_report().has_spec());
}

TEST(CodecRoundTrip, EveryRoleAndDType) {
  QuantizeJob job = SampleQuantizeJob();
  for (int v = 1; v <= v1::DType_MAX; ++v) {
    job.tensors[0].dtype = static_cast<DType>(v);
    ExpectRoundTrip<v1::QuantizeRequest, RequestFrame>(job);
  }
  for (int v = 1; v <= v1::Role_MAX; ++v) {
    job.tensors[0].role = static_cast<Role>(v);
    ExpectRoundTrip<v1::QuantizeRequest, RequestFrame>(job);
  }
}

TEST(CodecRoundTrip, ScalarsAndEmptyTensors) {
  QuantizeJob job = SampleQuantizeJob();
  job.tensors[0].shape = {};
  job.tensors[1].shape = {0, int64_t{1} << 40};
  ExpectRoundTrip<v1::QuantizeRequest, RequestFrame>(job);
}

TEST(CodecDefaults, RtnTakesItsPreset) {
  v1::QuantizationSpec message;
  message.mutable_rtn();
  Spec expected;
  expected.method = "rtn";
  const absl::StatusOr<Spec> spec = FromProto(message);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_TRUE(*spec == expected);
  EXPECT_EQ(spec->levels.bits, 4);
  EXPECT_EQ(spec->levels.symmetry, Symmetry::kSymmetricMinMax);
  EXPECT_EQ(spec->partition.granularity, Granularity::kGroup);
  EXPECT_EQ(spec->partition.group_size, 128);
  EXPECT_EQ(spec->partition.tail, TailPolicy::kReject);
  EXPECT_EQ(spec->fit.kind, FitKind::kMinMax);
  EXPECT_EQ(spec->storage.dtype(), DType::kF16);
  EXPECT_EQ(spec->solve.solver, Solver::kRtn);
  EXPECT_EQ(spec->solve.order, Order::kNatural);
}

TEST(CodecDefaults, GptqTakesItsPreset) {
  v1::QuantizationSpec message;
  message.mutable_gptq();
  const absl::StatusOr<Spec> spec = FromProto(message);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->method, "gptq");
  EXPECT_EQ(spec->solve.solver, Solver::kGptq);
  EXPECT_EQ(spec->solve.order, Order::kActOrder);
  EXPECT_EQ(spec->solve.timing, GroupTiming::kStatic);
  EXPECT_EQ(spec->solve.factorization, Factorization::kLdlq);
  EXPECT_EQ(spec->solve.block_columns, 128);
  EXPECT_EQ(spec->solve.damping.fraction, 0.01);
  EXPECT_EQ(spec->solve.damping.step, 10);
  EXPECT_EQ(spec->solve.damping.limit, 1);
  EXPECT_EQ(spec->solve.descent_passes, 0);
  EXPECT_EQ(spec->solve.fallback_descent_passes, 4);
}

TEST(CodecDefaults, EveryMethodAloneIsItsPreset) {
  for (const Method* method : AllMethods()) {
    v1::QuantizationSpec message;
    Put(method->defaults(), &message);
    message.clear_levels(), message.clear_partition(), message.clear_fit();
    message.clear_storage(), message.clear_transform(), message.clear_exceptions();
    message.clear_allocation(), message.clear_solve();
    const absl::StatusOr<Spec> spec = FromProto(message);
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_TRUE(*spec == method->defaults()) << method->name;
  }
}

TEST(CodecDefaults, DynamicGroupsTurnTheFactorizationDefault) {
  v1::QuantizationSpec message;
  message.mutable_gptq();
  message.mutable_solve()->set_timing(v1::GROUP_TIMING_DYNAMIC);
  EXPECT_EQ(FromProto(message)->solve.factorization, Factorization::kCholesky);
  message.mutable_solve()->set_factorization(v1::FACTORIZATION_LDLQ);
  EXPECT_EQ(FromProto(message)->solve.factorization, Factorization::kLdlq);
}

TEST(CodecDefaults, AdditiveFieldsFollowWhatTheRequestSays) {
  v1::QuantizationSpec message;
  message.mutable_aqlm();
  message.mutable_levels()->set_in_group(16);
  message.mutable_storage()->set_kind(v1::STORAGE_KIND_TABLE);
  message.mutable_solve()->set_update(v1::CODEBOOK_RULE_ADAM);
  const Spec spec = *FromProto(message);
  EXPECT_EQ(spec.levels.in_group, 16);
  EXPECT_EQ(spec.levels.codebook_bits, 8);
  EXPECT_EQ(spec.partition.granularity, Granularity::kGroup);
  EXPECT_EQ(spec.partition.group_size, 16);
  EXPECT_EQ(spec.solve.update_steps, 100);
  message.mutable_solve()->set_update_steps(5);
  EXPECT_EQ(FromProto(message)->solve.update_steps, 5);
}

TEST(CodecDefaults, AnEmptyAxisIsThePresetsAxis) {
  v1::QuantizationSpec message;
  message.mutable_spqr();
  const Spec preset = *FromProto(message);
  message.mutable_levels(), message.mutable_solve()->mutable_damping();
  message.mutable_exceptions()->set_outliers(v1::OUTLIER_KIND_UNSPECIFIED);
  EXPECT_TRUE(*FromProto(message) == preset);
}

TEST(CodecDefaults, AZeroThatIsWrittenIsNoAbsence) {
  v1::QuantizationSpec message;
  message.mutable_owq();
  EXPECT_EQ(FromProto(message)->exceptions.kept_columns, 0.01);
  message.mutable_exceptions()->set_kept_columns(0);
  EXPECT_EQ(FromProto(message)->exceptions.kept_columns, 0);
}

TEST(CodecDefaults, PolicyAndOutputType) {
  v1::QuantizeHeader header;
  Put(SampleQuantizeJob(), &header);
  header.clear_policy();
  EXPECT_EQ(FromProto(header)->policy.on_degraded, OnDegraded::kAccept);
  v1::DequantizeHeader back;
  Put(SampleDequantizeJob(), &back);
  back.clear_output_dtype();
  EXPECT_EQ(FromProto(back)->output_dtype, DType::kF32);
}

TEST(CodecLayouts, NamesAndNumbers) {
  for (int v = 1; v <= v1::Layout_MAX; ++v) {
    const std::string name = LayoutFromProto(static_cast<v1::Layout>(v));
    EXPECT_NE(name, "");
    EXPECT_EQ(LayoutToProto(name), v);
  }
  EXPECT_EQ(LayoutToProto("gptq-v2"), v1::LAYOUT_GPTQ_V2);
  EXPECT_EQ(LayoutToProto("aqlm"), v1::LAYOUT_AQLM);
  EXPECT_EQ(LayoutToProto("nonsense"), v1::LAYOUT_UNSPECIFIED);
  EXPECT_EQ(LayoutFromProto(v1::LAYOUT_UNSPECIFIED), "");
  EXPECT_EQ(LayoutFromProto(static_cast<v1::Layout>(77)), "");
}

TEST(CodecChunks, BytesMoveBothWays) {
  ChunkFrame chunk{0, 0, std::string(1 << 20, 'x'), 1};
  const char* bytes = chunk.data.data();
  v1::QuantizeRequest message;
  PutFrame(RequestFrame(std::move(chunk)), &message);
  EXPECT_EQ(message.chunk().data().data(), bytes);
  const absl::StatusOr<RequestFrame> frame = TakeFrame(&message);
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(std::get<ChunkFrame>(*frame).data.data(), bytes);
}

TEST(CodecChunks, BytesOfAStateMoveBothWays) {
  JobStateFrame state{1 << 20, 0, std::string(1 << 20, 'x'), 1};
  const char* bytes = state.data.data();
  v1::QuantizeResponse message;
  PutFrame(ResponseFrame(std::move(state)), &message);
  const absl::StatusOr<ResponseFrame> frame = TakeFrame(&message);
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(std::get<JobStateFrame>(*frame).data.data(), bytes);
}

TEST(CodecFrames, AMessageCanBeUsedAgain) {
  v1::QuantizeResponse message;
  PutFrame(ResponseFrame(ProgressFrame{Phase::kSolving, 0.5, 1, {{1, 2, 0.25}}}), &message);
  PutFrame(ResponseFrame(ProgressFrame{Phase::kSolving, 0.5, 1, std::nullopt}), &message);
  EXPECT_FALSE(std::get<ProgressFrame>(*TakeFrame(&message)).round.has_value());
  PutFrame(ResponseFrame(JobStateFrame{9, 3, "longer than abc", 9}), &message);
  PutFrame(ResponseFrame(JobStateFrame{4, 1, "abc", 7}), &message);
  EXPECT_TRUE(std::get<JobStateFrame>(*TakeFrame(&message)) == (JobStateFrame{4, 1, "abc", 7}));
  PutFrame(ResponseFrame(SampleFinal()), &message);
  PutFrame(ResponseFrame(SampleFinal()), &message);
  EXPECT_TRUE(std::get<FinalFrame>(*TakeFrame(&message)) == SampleFinal());
  const ChunkFrame chunk{1, 2, "abc", 4};
  PutFrame(ResponseFrame(ChunkFrame{9, 9, "longer than abc", 9}), &message);
  PutFrame(ResponseFrame(chunk), &message);
  EXPECT_TRUE(std::get<ChunkFrame>(*TakeFrame(&message)) == chunk);
  const ResultTensorFrame tensor{1, 1, SampleDecl("x", Role::kPacked)};
  PutFrame(ResponseFrame(tensor), &message);
  PutFrame(ResponseFrame(tensor), &message);
  EXPECT_TRUE(std::get<ResultTensorFrame>(*TakeFrame(&message)) == tensor);
}

TEST(CodecFrames, AMessageOfCandidatesCanBeUsedAgain) {
  v1::MeasureResponse message;
  PutFrame(ResponseFrame(CandidateReportFrame{{7, SampleReport("a.weight")}}), &message);
  TensorReport rejected;
  rejected.name = "b.weight";
  rejected.outcome = Outcome::kRejected;
  const CandidateReportFrame second{{0, rejected}};
  PutFrame(ResponseFrame(second), &message);
  EXPECT_TRUE(std::get<CandidateReportFrame>(*TakeFrame(&message)) == second);
  v1::MeasureHeader header;
  Put(SampleMeasureJob(), &header);
  Put(SampleMeasureJob(), &header);
  EXPECT_TRUE(*FromProto(header) == SampleMeasureJob());
}

}  // namespace
}  // namespace quantd::wire
