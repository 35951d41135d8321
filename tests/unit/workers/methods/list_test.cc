#include <set>
#include <string>

#include "gtest/gtest.h"
#include "workers/core/spec_fields.h"
#include "workers/methods/check.h"
#include "workers/methods/method.h"

namespace quantd {
namespace {

TEST(MethodListTest, EveryMethodDescribesItselfAndAcceptsItsOwnDefaults) {
  ASSERT_EQ(AllMethods().size(), 31u);
  std::set<absl::string_view> names, titles;
  for (const Method* m : AllMethods()) {
    EXPECT_TRUE(names.insert(m->name).second) << m->name;
    EXPECT_TRUE(titles.insert(m->title).second) << m->name;
    EXPECT_FALSE(m->title.empty()) << m->name;
    EXPECT_FALSE(m->paper.empty()) << m->name;
    EXPECT_FALSE(m->needs.empty()) << m->name;
    EXPECT_FALSE(m->when_not_to_use.empty()) << m->name;
    EXPECT_EQ(m->defaults().method, m->name);
    EXPECT_TRUE(CheckSpec(m->defaults()).ok()) << CheckSpec(m->defaults());
    EXPECT_EQ(*FindMethod(m->name), m);
  }
}

TEST(MethodListTest, AnUnknownNameListsTheKnownOnes) {
  const absl::Status s = FindMethod("awk").status();
  EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(s.message()).find("rtn, gptq"), std::string::npos);
}

TEST(MethodListTest, WhatAMethodFixesIsAFieldAndCannotBeChanged) {
  for (const Method* m : AllMethods()) {
    EXPECT_FALSE(m->fixed.empty()) << m->name;
    for (const absl::string_view name : m->fixed) {
      const SpecField* field = FindSpecField(name);
      ASSERT_NE(field, nullptr) << m->name << " " << name;
      EXPECT_EQ(field->name, name) << m->name;
      Spec spec = m->defaults();
      const double own = field->get(spec);
      field->set(&spec, own == field->max || own == 2 ? own - 1 : own + 1);
      const absl::Status status = CheckSpec(spec);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << m->name << " " << name;
      EXPECT_NE(std::string(status.message()).find("method " + std::string(m->name)),
                std::string::npos)
          << status;
    }
  }
}

}  // namespace
}  // namespace quantd
