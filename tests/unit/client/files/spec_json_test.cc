#include "client/files/spec_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/files/module_outcome.h"
#include "workers/core/spec_fields.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

TEST(SpecJson, EveryFieldSurvives) {
  Spec spec;
  spec.method = "gptq";
  for (const SpecField& field : SpecFields()) {
    const double last = field.type == SpecField::Type::kEnum   ? field.names.size() - 1
                        : field.type == SpecField::Type::kReal ? field.min + 1.0 / 3.0
                        : field.type == SpecField::Type::kBool ? 1
                                                               : field.min + 1;
    field.set(&spec, last);
  }
  for (const Json& json : {SpecToJson(spec), WholeSpecToJson(spec)}) {
    const auto back = SpecFromJson(Json::parse(json.dump()), "x");
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->method, "gptq");
    for (const SpecField& field : SpecFields()) {
      EXPECT_EQ(field.get(*back), field.get(spec)) << field.name;
    }
  }
  EXPECT_EQ(WholeSpecToJson(spec).size(), SpecFields().size() + 1);
}

TEST(SpecJson, DefaultsAreLeftOut) {
  EXPECT_EQ(SpecToJson(Spec()).dump(), R"({"method":""})");
  Spec spec;
  spec.method = "rtn";
  spec.levels.symmetry = Symmetry::kAsymmetric;
  spec.fit.shrink_to = 0.1;
  EXPECT_EQ(SpecToJson(spec).dump(), R"({"method":"rtn","symmetry":"asymmetric","shrink-to":0.1})");
}

TEST(SpecJson, OfAqlmIsFieldByField) {
  Spec spec;
  spec.method = "aqlm";
  spec.levels.kind = LevelKind::kAdditive;
  spec.levels.codebook_bits = 16;
  spec.solve.solver = Solver::kBeam;
  spec.fit.seed = 4294967295u;
  EXPECT_EQ(SpecToJson(spec).dump(),
            R"({"method":"aqlm","levels":"additive","codebook-bits":16,"fit-seed":4294967295,)"
            R"("solver":"beam"})");
  EXPECT_EQ(SpecFromJson(SpecToJson(spec), "x")->fit.seed, 4294967295u);
}

TEST(SpecJson, MistakesNamePlaceKeyAndValue) {
  const auto refused = [](const char* text, const char* said) {
    const auto spec = SpecFromJson(Json::parse(text), "here");
    ASSERT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(spec.status().message()), HasSubstr("here: ")) << text;
    EXPECT_THAT(std::string(spec.status().message()), HasSubstr(said)) << text;
  };
  refused(R"([])", "not an object");
  refused(R"({"method":3})", "method: is not a string");
  refused(R"({"colour":"red"})", "colour: is no field");
  refused(R"({"scheme":"2x8"})", "scheme: is no field");  // a short form for people
  refused(R"({"codebooks":17})", "17");
  refused(R"({"bits":"4"})", "bits: is not a number");
  refused(R"({"bits":4.5})", "4.5");
  refused(R"({"bits":900})", "900");
  refused(R"({"symmetry":"sym"})", "'sym' is no known value");
  refused(R"({"symmetry":"unspecified"})", "'unspecified'");
  refused(R"({"strided":1})", "strided: is not true or false");
}

TEST(ModuleOutcomeTest, SurvivesItsText) {
  ModuleOutcome outcome;
  outcome.spec.method = "adadim-rtn";
  outcome.spec.partition.axis = GroupAxis::kIn;
  outcome.decls = {{".codes", DType::kU8, {64, 32}}, {".outlier_values", DType::kF16, {0}}};
  const auto back = ParseOutcome(OutcomeText(outcome));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(OutcomeText(*back), OutcomeText(outcome));
  EXPECT_EQ(back->decls[1].shape, Shape{0});
  for (const char* text : {"", "{}", "[1]", R"({"spec":{},"tensors":[{}]})",
                           R"({"spec":{},"tensors":[{"suffix":"a","dtype":"Q4","shape":[1]}]})",
                           R"({"spec":{"bits":99},"tensors":[]})"}) {
    EXPECT_FALSE(ParseOutcome(text).ok()) << text;
  }
}

}  // namespace
}  // namespace quantd
