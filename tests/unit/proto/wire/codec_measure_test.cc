// Lies in the messages of Measure: each is named by its field and its value.
#include <functional>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/wire/codec.h"
#include "proto/wire/field_path.h"
#include "tests/unit/proto/wire/equality.h"
#include "tests/unit/proto/wire/samples.h"

namespace quantd::wire {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

void ExpectNamed(const absl::Status& status, const std::string& field, const std::string& value) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field << ": " << status;
  EXPECT_THAT(std::string(status.message()), StartsWith(field + ": "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(value));
}

void ExpectRefused(const std::function<void(v1::MeasureHeader*)>& lie, const std::string& field,
                   const std::string& value) {
  v1::MeasureHeader header;
  Put(SampleMeasureJob(), &header);
  ASSERT_TRUE(FromProto(header).ok());
  lie(&header);
  ExpectNamed(FromProto(header).status(), field, value);
}

void ExpectReportRefused(const std::function<void(v1::CandidateReport*)>& lie,
                         const std::string& field, const std::string& value) {
  v1::MeasureResponse message;
  PutFrame(ResponseFrame(CandidateReportFrame{{1, SampleReport("a.weight")}}), &message);
  lie(message.mutable_candidate_report());
  ExpectNamed(TakeFrame(&message).status(), "candidate_report." + field, value);
}

TEST(CodecMeasure, CandidatesAreOneOrMoreAndNotWithoutEnd) {
  ExpectRefused([](auto* h) { h->clear_candidates(); }, "candidates", "0 are not 1..4096");
  ExpectRefused(
      [](auto* h) {
        const v1::QuantizationSpec spec = h->candidates(1);
        while (h->candidates_size() <= kMaxTensors) *h->add_candidates() = spec;
      },
      "candidates", "4097 are not 1..4096");
}

TEST(CodecMeasure, ABadSpecIsNamedByItsPlaceAmongTheCandidates) {
  ExpectRefused([](auto* h) { h->mutable_candidates(1)->mutable_levels()->set_bits(9); },
                "candidates[1].levels.bits", "9 is not in 2..8");
  ExpectRefused([](auto* h) { h->mutable_candidates(2)->clear_method(); }, "candidates[2].method",
                "missing");
  ExpectRefused(
      [](auto* h) {
        h->mutable_candidates(0)->mutable_solve()->mutable_damping()->set_limit(
            std::numeric_limits<double>::quiet_NaN());
      },
      "candidates[0].solve.damping.limit", "nan");
}

TEST(CodecMeasure, WhatItSharesWithQuantizeIsCheckedAlike) {
  ExpectRefused([](auto* h) { h->set_job_id("a\nb"); }, "job_id", "3 bytes");
  ExpectRefused([](auto* h) { h->mutable_tensors(1)->set_name(""); }, "tensors[1].name",
                "is empty");
  ExpectRefused([](auto* h) { h->mutable_tensors(0)->set_shape(1, -5); }, "tensors[0].shape", "-5");
  ExpectRefused([](auto* h) { h->clear_layout(); }, "layout", "0 is not a layout");
  ExpectRefused([](auto* h) { h->set_priority(11); }, "priority", "11 is not in -10..10");
  ExpectRefused([](auto* h) { h->set_calibration_tokens(-1); }, "calibration_tokens", "-1");
}

TEST(CodecMeasure, ADefaultedCandidateIsItsPreset) {
  v1::MeasureHeader header;
  Put(SampleMeasureJob(), &header);
  header.mutable_candidates(0)->Clear();
  header.mutable_candidates(0)->mutable_rtn();
  Spec preset;
  preset.method = "rtn";
  EXPECT_TRUE(FromProto(header)->candidates[0] == preset);
}

TEST(CodecMeasure, ReportsOfCandidates) {
  ExpectReportRefused([](auto* r) { r->set_candidate(4096); }, "candidate",
                      "4096 is not in 0..4095");
  ExpectReportRefused([](auto* r) { r->set_candidate(0xFFFFFFFF); }, "candidate", "4294967295");
  ExpectReportRefused([](auto* r) { r->clear_report(); }, "report.name", "is empty");
  ExpectReportRefused([](auto* r) { r->mutable_report()->set_rows(-4); }, "report.rows", "-4");
  ExpectReportRefused(
      [](auto* r) {
        r->mutable_report()->mutable_error()->set_weight_mse(
            std::numeric_limits<double>::quiet_NaN());
      },
      "report.error.weight_mse", "nan");
}

}  // namespace
}  // namespace quantd::wire
