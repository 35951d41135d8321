// Lies in messages from outside: each is named by its field and its value.
#include <functional>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/wire/codec.h"
#include "tests/unit/proto/wire/samples.h"
#include "tests/unit/proto/wire/spec_place.h"
#include "workers/core/spec_fields.h"

namespace quantd::wire {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

template <typename Message, typename Job>
void ExpectRefused(const Job& job, const std::function<void(Message*)>& lie,
                   const std::string& field, const std::string& value,
                   absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  Message header;
  Put(job, &header);
  ASSERT_TRUE(FromProto(header).ok());
  lie(&header);
  const absl::Status status = FromProto(header).status();
  EXPECT_EQ(status.code(), code) << field << " " << value << ": " << status;
  EXPECT_THAT(std::string(status.message()), StartsWith(field + ": "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(value));
}

void ExpectQuantizeRefused(const std::function<void(v1::QuantizeHeader*)>& lie,
                           const std::string& field, const std::string& value,
                           absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  ExpectRefused<v1::QuantizeHeader>(SampleQuantizeJob(), lie, field, value, code);
}

void ExpectSpecRefused(const std::function<void(v1::QuantizationSpec*)>& lie,
                       const std::string& field, const std::string& value) {
  ExpectQuantizeRefused([&](v1::QuantizeHeader* h) { lie(h->mutable_spec()); }, "spec." + field,
                        value);
}

void ExpectDequantizeRefused(const std::function<void(v1::DequantizeHeader*)>& lie,
                             const std::string& field, const std::string& value) {
  ExpectRefused<v1::DequantizeHeader>(SampleDequantizeJob(), lie, field, value);
}

void ExpectResponseRefused(ResponseFrame good,
                           const std::function<void(v1::QuantizeResponse*)>& lie,
                           const std::string& field, const std::string& value) {
  v1::QuantizeResponse message;
  PutFrame(std::move(good), &message);
  lie(&message);
  const absl::Status status = TakeFrame(&message).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field << " " << value;
  EXPECT_THAT(std::string(status.message()), StartsWith(field + ": "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(value));
}

TEST(CodecErrors, JobId) {
  for (const std::string& id : {std::string(), std::string(129, 'x'), std::string("a\nb"),
                                std::string("caf\xC3\xA9"), std::string("a\0b", 3)}) {
    ExpectQuantizeRefused([&](auto* h) { h->set_job_id(id); }, "job_id",
                          std::to_string(id.size()) + " bytes");
    ExpectDequantizeRefused([&](auto* h) { h->set_job_id(id); }, "job_id",
                            std::to_string(id.size()) + " bytes");
  }
}

TEST(CodecErrors, LongestAndOddestGoodJobIds) {
  for (const std::string& id : {std::string(128, '~'), std::string(" ")}) {
    QuantizeJob job = SampleQuantizeJob();
    job.id = id;
    v1::QuantizeHeader header;
    Put(job, &header);
    EXPECT_EQ(FromProto(header)->id, id);
  }
}

TEST(CodecErrors, TensorNames) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "is empty"},
      {std::string(1025, 'n'), "1025 bytes"},
      {"a\x01z", "'a\\x01z' holds a control character"},
      {"del\x7F", "control character"},
      {"c1\xC2\x85", "control character"},
      {"\xC0\xAF", "is not UTF-8"},
      {"\xED\xA0\x80", "is not UTF-8"},
      {"\xF4\x90\x80\x80", "is not UTF-8"},
      {"cut\xE2\x82", "is not UTF-8"},
  };
  for (const auto& one : cases) {
    const std::string& name = one.first;
    const std::string& problem = one.second;
    ExpectQuantizeRefused([&](auto* h) { h->mutable_tensors(1)->set_name(name); },
                          "tensors[1].name", problem);
    ExpectDequantizeRefused([&](auto* h) { h->mutable_weights(1)->set_name(name); },
                            "weights[1].name", problem);
  }
}

TEST(CodecErrors, WhatATensorBelongsTo) {
  ExpectQuantizeRefused([](auto* h) { h->mutable_tensors(1)->set_of("a\x01z"); }, "tensors[1].of",
                        "control character");
  ExpectQuantizeRefused([](auto* h) { h->mutable_tensors(1)->set_of(std::string(1025, 'n')); },
                        "tensors[1].of", "1025 bytes");
}

TEST(CodecErrors, DuplicateNames) {
  ExpectQuantizeRefused([](auto* h) { h->mutable_tensors(1)->set_name(h->tensors(0).name()); },
                        "tensors[1].name", "'layers.0.q_proj.weight' is declared twice");
  ExpectDequantizeRefused([](auto* h) { h->mutable_weights(1)->set_name("a.weight"); },
                          "weights[1].name", "'a.weight' is named twice");
}

TEST(CodecErrors, Declarations) {
  ExpectQuantizeRefused([](auto* h) { h->mutable_tensors(0)->clear_role(); }, "tensors[0].role",
                        "0 (unspecified)");
  ExpectQuantizeRefused([](auto* h) { h->mutable_tensors(0)->set_role(static_cast<v1::Role>(99)); },
                        "tensors[0].role", "99");
  ExpectQuantizeRefused([](auto* h) { h->mutable_tensors(0)->clear_dtype(); }, "tensors[0].dtype",
                        "0 (unspecified)");
  ExpectQuantizeRefused(
      [](auto* h) { h->mutable_tensors(0)->set_dtype(static_cast<v1::DType>(-3)); },
      "tensors[0].dtype", "-3");
  for (int size : {1, 15, 17, 32}) {
    ExpectQuantizeRefused(
        [&](auto* h) { h->mutable_tensors(0)->set_digest(std::string(size, 'd')); },
        "tensors[0].digest", std::to_string(size) + " bytes");
  }
}

TEST(CodecErrors, Shapes) {
  ExpectQuantizeRefused([](auto* h) { h->mutable_tensors(0)->set_shape(1, -5); },
                        "tensors[0].shape", "[3, -5, 7]");
  ExpectQuantizeRefused(
      [](auto* h) {
        for (int i = 0; i < 6; ++i) h->mutable_tensors(0)->add_shape(1);
      },
      "tensors[0].shape", "9 dimensions");
  ExpectQuantizeRefused([](auto* h) { h->mutable_tensors(0)->set_shape(0, int64_t{1} << 62); },
                        "tensors[0].shape", "[4611686018427387904, 5, 7]",
                        absl::StatusCode::kOutOfRange);
}

TEST(CodecErrors, TooManyTensors) {
  ExpectQuantizeRefused(
      [](auto* h) {
        while (h->tensors_size() < 4097) *h->add_tensors() = h->tensors(0);
      },
      "tensors", "4097 declarations, at most 4096");
  ExpectDequantizeRefused(
      [](auto* h) {
        while (h->weights_size() < 4097) *h->add_weights() = h->weights(0);
      },
      "weights", "4097 weights, at most 4096");
}

TEST(CodecErrors, HeaderNumbers) {
  ExpectQuantizeRefused([](auto* h) { h->set_priority(11); }, "priority", "11");
  ExpectQuantizeRefused([](auto* h) { h->set_priority(-11); }, "priority", "-11");
  ExpectDequantizeRefused([](auto* h) { h->set_priority(-2147483647 - 1); }, "priority",
                          "-2147483648");
  ExpectQuantizeRefused([](auto* h) { h->set_calibration_tokens(-1); }, "calibration_tokens", "-1");
  ExpectQuantizeRefused([](auto* h) { h->clear_layout(); }, "layout", "0 is not a layout");
  ExpectQuantizeRefused([](auto* h) { h->set_layout(static_cast<v1::Layout>(50)); }, "layout",
                        "50");
  ExpectQuantizeRefused(
      [](auto* h) { h->mutable_policy()->set_on_degraded(static_cast<v1::OnDegraded>(3)); },
      "policy.on_degraded", "3");
  ExpectDequantizeRefused([](auto* h) { h->set_output_dtype(v1::DTYPE_I8); }, "output_dtype", "I8");
  ExpectDequantizeRefused([](auto* h) { h->set_output_dtype(static_cast<v1::DType>(1000)); },
                          "output_dtype", "1000");
  ExpectDequantizeRefused([](auto* h) { h->mutable_weights(0)->set_rows(-1); }, "weights[0].rows",
                          "-1");
  ExpectDequantizeRefused([](auto* h) { h->mutable_weights(1)->set_cols(-9); }, "weights[1].cols",
                          "-9");
  ExpectDequantizeRefused(
      [](auto* h) { h->mutable_weights(1)->mutable_spec()->mutable_levels()->set_bits(1); },
      "weights[1].spec.levels.bits", "1 is not in 2..8");
}

TEST(CodecErrors, SpecEnums) {
  ExpectSpecRefused([](auto* s) { s->clear_method(); }, "method", "missing");
  ExpectSpecRefused([](auto* s) { s->mutable_levels()->set_kind(static_cast<v1::LevelKind>(8)); },
                    "levels.kind", "8 is not a known value");
  ExpectSpecRefused(
      [](auto* s) { s->mutable_levels()->set_symmetry(static_cast<v1::Symmetry>(5)); },
      "levels.symmetry", "5");
  ExpectSpecRefused(
      [](auto* s) { s->mutable_partition()->set_granularity(static_cast<v1::Granularity>(-1)); },
      "partition.granularity", "-1");
  ExpectSpecRefused([](auto* s) { s->mutable_fit()->set_kind(static_cast<v1::FitKind>(256)); },
                    "fit.kind", "256 is not a known value");
  ExpectSpecRefused(
      [](auto* s) { s->mutable_storage()->set_kind(static_cast<v1::StorageKind>(9)); },
      "storage.kind", "9");
  ExpectSpecRefused([](auto* s) { s->mutable_solve()->set_order(static_cast<v1::Order>(8)); },
                    "solve.order", "8");
}

TEST(CodecErrors, EverySpecEnumRefusesTheNextNumberAndANegativeOne) {
  for (const SpecField& field : SpecFields()) {
    if (field.type != SpecField::Type::kEnum) continue;
    for (const int bad : {static_cast<int>(field.names.size()), -1}) {
      ExpectSpecRefused(
          [&](v1::QuantizationSpec* s) {
            const SpecPlace place = PlaceOf(field.path, s);
            place.holder->GetReflection()->SetEnumValue(place.holder, place.field, bad);
          },
          std::string(field.path), std::to_string(bad) + " is not a known value");
    }
  }
}

TEST(CodecErrors, SpecNumbers) {
  for (uint32_t bits : {1u, 9u}) {
    ExpectSpecRefused([&](auto* s) { s->mutable_levels()->set_bits(bits); }, "levels.bits",
                      std::to_string(bits) + " is not in 2..8");
  }
  for (double bad : {-0.5, 0.0, 1.5, kNan, kInf}) {
    ExpectSpecRefused([&](auto* s) { s->mutable_fit()->set_shrink_to(bad); }, "fit.shrink_to",
                      "is not in [0.001, 1]");
  }
  for (double bad : {0.0, 4.5, -2.0, kNan, kInf}) {
    ExpectSpecRefused([&](auto* s) { s->mutable_fit()->set_norm(bad); }, "fit.norm",
                      "is not in [0.01, 4]");
  }
  ExpectSpecRefused([](auto* s) { s->mutable_solve()->set_fallback_descent_passes(0xFFFFFFFF); },
                    "solve.fallback_descent_passes", "is not in 0..100");
  ExpectSpecRefused([](auto* s) { s->mutable_exceptions()->set_mask_of(33); }, "exceptions.mask_of",
                    "33 is not in 0..32");
}

TEST(CodecErrors, EverySpecNumberRefusesWhatIsBeyondItsRange) {
  for (const SpecField& field : SpecFields()) {
    const bool whole = field.type == SpecField::Type::kInt;
    if (!whole && field.type != SpecField::Type::kReal) continue;
    const double out = whole ? 1 : 0.5;
    for (const double bad : {field.min - out, field.max + out, kNan, kInf}) {
      // Whole numbers travel unsigned; some ranges end where the wire's do, or never.
      if (whole && !(bad >= 0 && bad <= 4294967295.0)) continue;
      if (bad == field.max) continue;
      ExpectSpecRefused(
          [&](v1::QuantizationSpec* s) {
            const SpecPlace place = PlaceOf(field.path, s);
            const auto* reflection = place.holder->GetReflection();
            if (whole) {
              reflection->SetUInt32(place.holder, place.field, static_cast<uint32_t>(bad));
            } else {
              reflection->SetDouble(place.holder, place.field, bad);
            }
          },
          std::string(field.path), "is not in ");
    }
  }
}

TEST(CodecErrors, Damping) {
  const auto damping = [](v1::QuantizationSpec* s) {
    return s->mutable_solve()->mutable_damping();
  };
  for (double bad : {-0.01, kNan, kInf}) {
    ExpectSpecRefused([&](auto* s) { damping(s)->set_fraction(bad); }, "solve.damping.fraction",
                      "is not in [0, inf]");
    ExpectSpecRefused([&](auto* s) { damping(s)->set_limit(bad); }, "solve.damping.limit",
                      "is not in [0, inf]");
  }
  for (double bad : {0.5, -1.0, kNan, kInf}) {
    ExpectSpecRefused([&](auto* s) { damping(s)->set_step(bad); }, "solve.damping.step",
                      "is not in [1, inf]");
  }
}

TEST(CodecErrors, ASpecAloneIsNamedSpec) {
  v1::QuantizationSpec message;
  message.mutable_rtn();
  message.mutable_levels()->set_bits(9);
  EXPECT_EQ(FromProto(message).status().message(), "spec.levels.bits: 9 is not in 2..8");
}

TEST(CodecErrors, LongValuesAreCutInMessages) {
  QuantizeJob job = SampleQuantizeJob();
  job.tensors[0].name = std::string(1 << 20, 'n');
  v1::QuantizeHeader header;
  Put(job, &header);
  EXPECT_LT(FromProto(header).status().message().size(), 300u);
}

TEST(CodecErrors, CheckpointSecondsFitAnInt) {
  for (uint32_t bad : {0x80000000u, 0xFFFFFFFFu}) {
    ExpectQuantizeRefused([&](auto* h) { h->set_checkpoint_seconds(bad); }, "checkpoint_seconds",
                          std::to_string(bad));
  }
}

TEST(CodecErrors, MissingFrames) {
  v1::QuantizeRequest request;
  EXPECT_THAT(std::string(TakeFrame(&request).status().message()), StartsWith("frame: missing"));
  v1::MeasureRequest measure;
  EXPECT_THAT(std::string(TakeFrame(&measure).status().message()), StartsWith("frame: missing"));
  v1::MeasureResponse measured;
  const absl::Status nothing = TakeFrame(&measured).status();
  EXPECT_EQ(nothing.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(nothing.message()), HasSubstr("candidate_report"));
  v1::DequantizeRequest back;
  EXPECT_EQ(TakeFrame(&back).status().code(), absl::StatusCode::kInvalidArgument);
  v1::QuantizeResponse response;
  EXPECT_EQ(TakeFrame(&response).status().code(), absl::StatusCode::kInvalidArgument);
  v1::DequantizeResponse back_response;
  EXPECT_EQ(TakeFrame(&back_response).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CodecErrors, Responses) {
  const AcceptedFrame accepted{"job", 1, 1, 0, SampleRtnSpec()};
  ExpectResponseRefused(
      accepted, [](auto* m) { m->mutable_accepted()->set_predicted_seconds(kNan); },
      "accepted.predicted_seconds", "nan");
  ExpectResponseRefused(
      accepted, [](auto* m) { m->mutable_accepted()->clear_spec(); }, "accepted.spec.method",
      "missing");
  const ProgressFrame progress{Phase::kSolving, 0.5, 1, {{0, 1, 0.5}}};
  ExpectResponseRefused(
      progress, [](auto* m) { m->mutable_progress()->set_phase(static_cast<v1::Phase>(60)); },
      "progress.phase", "60");
  for (double bad : {-0.1, 1.1, kNan}) {
    ExpectResponseRefused(
        progress, [&](auto* m) { m->mutable_progress()->set_fraction(bad); }, "progress.fraction",
        "is not in [0, 1]");
  }
  ExpectResponseRefused(
      progress, [](auto* m) { m->mutable_progress()->set_eta_seconds(-1); }, "progress.eta_seconds",
      "-1");
  for (double bad : {-0.1, kNan}) {
    ExpectResponseRefused(
        progress, [&](auto* m) { m->mutable_progress()->mutable_round()->set_relative_loss(bad); },
        "progress.round.relative_loss", "is not in [0, inf]");
  }
  ExpectResponseRefused(
      ResultTensorFrame{0, 0, SampleDecl("x", Role::kPacked)},
      [](auto* m) { m->mutable_tensor()->mutable_decl()->set_digest("short"); },
      "tensor.decl.digest", "5 bytes");
}

TEST(CodecErrors, Reports) {
  const FinalFrame final_frame = SampleFinal();
  const auto tensor = [](v1::QuantizeResponse* m) {
    return m->mutable_final()->mutable_report()->mutable_tensors(1);
  };
  ExpectResponseRefused(
      final_frame, [](auto* m) { m->mutable_final()->clear_outcome(); }, "final.outcome",
      "0 (unspecified)");
  ExpectResponseRefused(
      final_frame, [&](auto* m) { tensor(m)->set_outcome(static_cast<v1::Outcome>(4)); },
      "final.report.tensors[1].outcome", "4");
  ExpectResponseRefused(
      final_frame, [&](auto* m) { tensor(m)->mutable_error()->set_sqnr_db(kNan); },
      "final.report.tensors[1].error.sqnr_db", "nan");
  ExpectResponseRefused(
      final_frame, [&](auto* m) { tensor(m)->set_rows(-4); }, "final.report.tensors[1].rows", "-4");
  ExpectResponseRefused(
      final_frame, [&](auto* m) { tensor(m)->set_outlier_share(kNan); },
      "final.report.tensors[1].outlier_share", "nan");
  ExpectResponseRefused(
      final_frame, [&](auto* m) { tensor(m)->set_drift_error(kNan); },
      "final.report.tensors[1].drift_error", "nan");
  ExpectResponseRefused(
      final_frame, [&](auto* m) { tensor(m)->mutable_spec()->mutable_levels()->set_bits(1); },
      "final.report.tensors[1].spec.levels.bits", "1 is not in 2..8");
  const auto candidate = [](v1::QuantizeResponse* m) {
    return m->mutable_final()->mutable_report()->mutable_tensors(0)->mutable_candidates(1);
  };
  ExpectResponseRefused(
      final_frame, [&](auto* m) { candidate(m)->mutable_error()->set_cosine(kNan); },
      "final.report.tensors[0].candidates[1].error.cosine", "nan");
  ExpectResponseRefused(
      final_frame, [&](auto* m) { candidate(m)->set_all_in_bits_per_weight(kNan); },
      "final.report.tensors[0].candidates[1].all_in_bits_per_weight", "nan");
  ExpectResponseRefused(
      final_frame, [&](auto* m) { tensor(m)->set_source_digest("123"); },
      "final.report.tensors[1].source_digest", "3 bytes");
  ExpectResponseRefused(
      final_frame, [&](auto* m) { tensor(m)->mutable_packed(0)->clear_digest(); },
      "final.report.tensors[1].packed[0].digest", "0 bytes");
  ExpectResponseRefused(
      final_frame, [&](auto* m) { tensor(m)->mutable_solver()->set_damping_retries(0x80000000u); },
      "final.report.tensors[1].solver.damping_retries", "2147483648");
  ExpectResponseRefused(
      final_frame,
      [](auto* m) { m->mutable_final()->mutable_report()->mutable_seconds()->set_total(-1); },
      "final.report.seconds.total", "-1");
  ExpectResponseRefused(
      TensorReportFrame{SampleReport("a")},
      [](auto* m) { m->mutable_tensor_report()->clear_name(); }, "tensor_report.name", "is empty");
}

}  // namespace
}  // namespace quantd::wire
