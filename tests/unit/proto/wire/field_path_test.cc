#include "proto/wire/field_path.h"

#include <string>

#include "gtest/gtest.h"

namespace quantd::wire {
namespace {

TEST(FieldPath, ShowsNamesAndIndices) {
  const FieldPath root;
  EXPECT_EQ(root.Field("job_id").ToString(), "job_id");
  const FieldPath tensor = root.At("tensors", 3);
  EXPECT_EQ(tensor.ToString(), "tensors[3]");
  EXPECT_EQ(tensor.Field("shape").ToString(), "tensors[3].shape");
  EXPECT_EQ(FieldPath("spec").Field("fit").ToString(), "spec.fit");
}

TEST(Shown, EscapesAndCuts) {
  EXPECT_EQ(Shown("plain"), "'plain'");
  EXPECT_EQ(Shown("tab\t\x01"), "'tab\\t\\x01'");
  EXPECT_EQ(Shown(std::string(65, 'a')), "'" + std::string(64, 'a') + "...'");
}

TEST(CheckName, TakesEveryScript) {
  const FieldPath path("name");
  for (const std::string& name :
       {std::string("model.layers.0.q_proj.weight"), std::string(1024, 'x'),
        std::string("\xC2\xA0"),
        std::string("gr\xC3\xB6\xC3\x9F"
                    "e"),
        std::string("\xE9\x87\x8F\xE5\xAD\x90"), std::string("\xF0\x9F\x99\x82"),
        std::string("\xF4\x8F\xBF\xBF"), std::string("a b/c")}) {
    EXPECT_TRUE(CheckName(path, name).ok()) << Shown(name);
  }
}

TEST(CheckName, RefusesEverySequenceThatIsNotUtf8) {
  const FieldPath path("name");
  for (const std::string& name :
       {std::string("\x80"), std::string("\xC1\xBF"), std::string("\xC3"),
        std::string("\xE0\x9F\xBF"), std::string("\xED\xBF\xBF"), std::string("\xF0\x8F\xBF\xBF"),
        std::string("\xF5\x80\x80\x80"), std::string("\xFF"), std::string("\xC3(")}) {
    EXPECT_FALSE(CheckName(path, name).ok()) << Shown(name);
  }
}

}  // namespace
}  // namespace quantd::wire
