// Old readers meet newer writers: what they do not know, they pass over.
#include <string>

#include "google/protobuf/unknown_field_set.h"
#include "gtest/gtest.h"
#include "proto/wire/codec.h"
#include "tests/unit/proto/wire/equality.h"
#include "tests/unit/proto/wire/samples.h"

namespace quantd::wire {
namespace {

template <typename Message>
void AddUnknownFields(Message* message) {
  google::protobuf::UnknownFieldSet* fields =
      message->GetReflection()->MutableUnknownFields(message);
  fields->AddVarint(9001, 7);
  fields->AddLengthDelimited(9002, "from a later version");
  fields->AddFixed64(9003, 1);
}

TEST(Compatibility, UnknownFieldsOfARequestAreIgnored) {
  const QuantizeJob job = SampleQuantizeJob();
  v1::QuantizeRequest message;
  PutFrame(RequestFrame(job), &message);
  AddUnknownFields(&message);
  AddUnknownFields(message.mutable_header());
  AddUnknownFields(message.mutable_header()->mutable_spec());
  AddUnknownFields(message.mutable_header()->mutable_spec()->mutable_gptq());
  AddUnknownFields(message.mutable_header()->mutable_spec()->mutable_solve()->mutable_damping());
  AddUnknownFields(message.mutable_header()->mutable_tensors(0));
  v1::QuantizeRequest arrived;
  ASSERT_TRUE(arrived.ParseFromString(message.SerializeAsString()));
  const absl::StatusOr<RequestFrame> frame = TakeFrame(&arrived);
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_TRUE(std::get<QuantizeJob>(*frame) == job);
}

TEST(Compatibility, UnknownFieldsOfAResponseAreIgnored) {
  v1::QuantizeResponse message;
  PutFrame(ResponseFrame(SampleFinal()), &message);
  AddUnknownFields(message.mutable_final());
  AddUnknownFields(message.mutable_final()->mutable_report()->mutable_tensors(0));
  v1::QuantizeResponse arrived;
  ASSERT_TRUE(arrived.ParseFromString(message.SerializeAsString()));
  const absl::StatusOr<ResponseFrame> frame = TakeFrame(&arrived);
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_TRUE(std::get<FinalFrame>(*frame) == SampleFinal());
}

TEST(Compatibility, AFrameOfALaterVersionIsAnErrorAndNoCrash) {
  v1::QuantizeRequest message;
  message.GetReflection()->MutableUnknownFields(&message)->AddLengthDelimited(100, "new frame");
  v1::QuantizeRequest arrived;
  ASSERT_TRUE(arrived.ParseFromString(message.SerializeAsString()));
  EXPECT_EQ(TakeFrame(&arrived).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Compatibility, AMethodOfALaterVersionIsRefusedByName) {
  v1::QuantizationSpec message;
  message.GetReflection()->MutableUnknownFields(&message)->AddLengthDelimited(15, "");
  v1::QuantizationSpec arrived;
  ASSERT_TRUE(arrived.ParseFromString(message.SerializeAsString()));
  EXPECT_EQ(FromProto(arrived).status().message(),
            "spec.method: missing, or one that this version does not know");
}

// Version 1 had `QuantizeHeader header = 1` alone; `measure` came as its alternative.
TEST(Compatibility, AnEstimateOfTheFirstVersionIsReadAsBefore) {
  v1::QuantizeHeader header;
  Put(SampleQuantizeJob(), &header);
  v1::EstimateRequest old;
  old.GetReflection()->MutableUnknownFields(&old)->AddLengthDelimited(1,
                                                                      header.SerializeAsString());
  v1::EstimateRequest arrived;
  ASSERT_TRUE(arrived.ParseFromString(old.SerializeAsString()));
  ASSERT_EQ(arrived.job_case(), v1::EstimateRequest::kHeader);
  EXPECT_TRUE(*FromProto(arrived.header()) == SampleQuantizeJob());
  // And what a client of today sends is what one of the first version sent.
  v1::EstimateRequest today;
  Put(SampleQuantizeJob(), today.mutable_header());
  EXPECT_EQ(today.SerializeAsString(), old.SerializeAsString());
}

TEST(Compatibility, FramesOfEveryStreamKeepTheirNumbers) {
  const auto number = [](const google::protobuf::Descriptor* of, const char* name) {
    const auto* field = of->FindFieldByName(name);
    return field == nullptr ? -1 : field->number();
  };
  for (const auto* of : {v1::QuantizeRequest::descriptor(), v1::MeasureRequest::descriptor(),
                         v1::DequantizeRequest::descriptor()}) {
    EXPECT_EQ(number(of, "header"), 1) << of->name();
    EXPECT_EQ(number(of, "chunk"), 2) << of->name();
    EXPECT_EQ(number(of, "end"), 3) << of->name();
  }
  for (const auto* of : {v1::QuantizeResponse::descriptor(), v1::MeasureResponse::descriptor(),
                         v1::DequantizeResponse::descriptor()}) {
    EXPECT_EQ(number(of, "accepted"), 1) << of->name();
    EXPECT_EQ(number(of, "progress"), 2) << of->name();
    EXPECT_EQ(number(of, "final"), 6) << of->name();
  }
  EXPECT_EQ(number(v1::MeasureResponse::descriptor(), "candidate_report"), 3);
}

}  // namespace
}  // namespace quantd::wire
