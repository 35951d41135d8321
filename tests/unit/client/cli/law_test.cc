#include "client/cli/law.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/exit_codes.h"
#include "client/cli/law_profiles.h"
#include "tests/unit/client/files/model_folder.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

class LawTest : public ::testing::Test {
 protected:
  LawTest() {
    env_.out = &out_;
    env_.err = &err_;
    env_.stop = &stop_;
    flags_.profile = kDefaultLaw;
  }
  std::string PointsFile(const std::string& text) {
    quantd::testing::WriteText(folder_ / "points.csv", text);
    return folder_ / "points.csv";
  }
  quantd::testing::TempFolder folder_;
  std::ostringstream out_, err_;
  client::StopSource stop_;
  Environment env_;
  LawFlags flags_;
};

TEST_F(LawTest, AnswersTheOneThatIsMissing) {
  flags_.question = {7, 0.9, 16, {}};
  ASSERT_EQ(RunLaw(flags_, &env_), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("0.1068 nats (perplexity +11.27 %)"));
  EXPECT_THAT(out_.str(), HasSubstr("likely 0.08"));
  EXPECT_THAT(out_.str(), HasSubstr("ours, not published"));
  EXPECT_THAT(out_.str(), HasSubstr("bits     5.65 a weight on average"));
  out_.str("");
  flags_.question = {7, {}, 32, std::log(1.1)};
  ASSERT_EQ(RunLaw(flags_, &env_), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("Q_r      0.8175"));
}

TEST_F(LawTest, RefusesToLeaveItsDomainUnlessAsked) {
  flags_.question = {70, 0.9, 32, {}};
  EXPECT_EQ(RunLaw(flags_, &env_), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("70"));
  EXPECT_THAT(err_.str(), HasSubstr("--extrapolate"));
  EXPECT_EQ(out_.str(), "");
  flags_.extrapolate = true;
  EXPECT_EQ(RunLaw(flags_, &env_), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("warning: "));
}

TEST_F(LawTest, ListsTheProfilesWhenNothingIsAsked) {
  EXPECT_EQ(RunLaw(flags_, &env_), kExitOk);
  EXPECT_THAT(out_.str(), HasSubstr("v1-10-percent"));
  EXPECT_THAT(out_.str(), HasSubstr("published, arXiv 2410.06722v1"));
}

TEST_F(LawTest, FitsPointsAndPrintsAProfile) {
  const ScalingLaw planted = {0.002, 4.5, 0.4, 0.3, 0, 0, {}};
  std::string csv = "# made up\nbillions, low_share, block, delta\n";
  for (const double n : {0.5, 2.0, 8.0}) {
    for (const double q : {0.5, 0.8, 0.95}) {
      for (const double b : {16.0, 64.0, 256.0}) {
        csv += absl::StrCat(n, ",", q, ",", b, ",",
                            absl::StrFormat("%.17g", LawDelta(planted, n, q, b)), "\n");
      }
    }
  }
  LawFitFlags fit;
  fit.points = PointsFile(csv);
  ASSERT_EQ(RunLawFit(fit, &env_), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("27 points, R2 1.0000"));
  const std::string yaml = out_.str().substr(out_.str().find("- name"));
  const auto profiles = ParseLawProfiles(yaml, "fit");
  ASSERT_TRUE(profiles.ok()) << profiles.status();
  EXPECT_NEAR(std::get<ScalingLaw>(profiles->front().law).a, 4.5, 1e-5);
}

TEST_F(LawTest, FitsRefuseWhatSaysNothing) {
  LawFitFlags fit;
  const std::string head = "billions,low_share,block,rise\n";
  const std::pair<std::string, const char*> cases[] = {
      {head + "7,0.5,16,0.01\n7,0.9,32,0.1\n7,0.8,64,0.07\n7,0.7,16,0.03\n", "7"},
      {head + "7,0.5,16,-0.01\n1,0.9,32,0.1\n", "1"},
      {head + "7,0.5,16,many\n", "points.csv:2: rise: \"many\" is not a number"},
      {"billions,low_share,block\n7,1,1\n", "the columns are"},
      {head + "7,0.5\n", "points.csv:2: 2 cells under 4 columns"},
      {head, "point"},
  };
  for (const auto& [text, said] : cases) {
    err_.str("");
    fit.points = PointsFile(text);
    EXPECT_EQ(RunLawFit(fit, &env_), kExitBadInput) << text;
    EXPECT_THAT(err_.str(), HasSubstr(said)) << text;
  }
  // The same size everywhere is enough where its exponent is known.
  err_.str("");
  fit.points = PointsFile(cases[0].first);
  fit.prior = kDefaultLaw;
  EXPECT_EQ(RunLawFit(fit, &env_), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("held: "));
}

}  // namespace
}  // namespace quantd::cli
