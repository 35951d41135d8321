// Small additive codes of every kind, with the H that they are measured by.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/reference/aqlm_case.h"
#include "tests/reference/codebook_reference.h"
#include "workers/calib/hessian.h"
#include "workers/core/float16.h"
#include "workers/linalg/blas.h"
#include "workers/solve/codebook_update.h"
#include "workers/solve/metric.h"

namespace quantd {

struct CodebookCase {
  const char* name;
  int64_t m, n, og, ig;
  int books, bits;
  int table_bits;  // -1: one scale an out group, 0: one a patch, > 0: tables
  bool identity;

  friend void PrintTo(const CodebookCase& c, std::ostream* os) { *os << c.name; }
};

inline constexpr CodebookCase kCodebookCases[] = {
    {"one-book", 40, 32, 1, 8, 1, 4, -1, false},
    {"two-books", 48, 32, 1, 8, 2, 3, -1, false},
    {"three-books-of-four", 36, 24, 1, 4, 3, 3, -1, false},
    {"four-books-two-rows", 48, 32, 2, 4, 4, 2, -1, false},
    {"two-rows", 64, 20, 2, 5, 2, 3, -1, false},
    {"identity", 40, 32, 1, 8, 2, 3, -1, true},
    {"identity-two-rows", 40, 32, 2, 8, 1, 3, -1, true},
    {"group-scales", 40, 32, 1, 8, 2, 3, 0, false},
    {"group-scales-two-rows", 40, 32, 2, 4, 2, 3, 0, false},
    {"group-scales-identity", 40, 32, 1, 8, 2, 3, 0, true},
    {"tables", 40, 48, 1, 4, 2, 3, 2, false},
    {"tables-identity", 40, 48, 2, 4, 2, 2, 2, true},
};

// A weight, its H and a code for it.
struct CodebookProblemSetup {
  Spec spec;
  AdditiveShape shape;
  std::vector<float> w;
  std::vector<double> h;  // what `metric` holds
  std::unique_ptr<Hessian> hessian;
  Metric metric = Metric::Identity(1);
  AdditiveCode code;
  int64_t table_entries = 0;

  WeightView view() const {
    return {DType::kF32, reinterpret_cast<const std::byte*>(w.data()), shape.m, shape.n};
  }
  double Loss(const AdditiveCode& c) const { return reference::AdditiveLoss(shape, c, w, h); }
  std::vector<double> Losses(const AdditiveCode& c) const {
    return reference::AdditiveLosses(shape, c, w, h);
  }
};

class CodebookFixture : public ::testing::TestWithParam<CodebookCase> {
 protected:
  void SetUp() override { ASSERT_TRUE(InitBlas().ok()); }

  void SetHessian(std::vector<double> h, CodebookProblemSetup* p) {
    const int64_t n = p->shape.n;
    const std::vector<float> f(h.begin(), h.end());
    p->h.assign(f.begin(), f.end());
    Buffer b = *Buffer::Allocate(f.size() * sizeof(float));
    std::memcpy(b.data(), f.data(), f.size() * sizeof(float));
    p->hessian = std::make_unique<Hessian>(
        *Hessian::Create(std::move(b), n, Hessian::Given::kFull, "h", executor_, cancel_));
    p->metric = Metric::Of(p->hessian.get(), executor_);
  }

  static Spec SpecOf(const CodebookCase& c) {
    Spec spec;
    spec.levels.kind = LevelKind::kAdditive;
    spec.levels.codebooks = c.books;
    spec.levels.codebook_bits = c.bits;
    spec.levels.out_group = static_cast<int>(c.og);
    spec.levels.in_group = static_cast<int>(c.ig);
    spec.partition.granularity = c.table_bits < 0 ? Granularity::kRow : Granularity::kGroup;
    spec.partition.group_size = c.ig;
    if (c.table_bits > 0) {
      spec.storage.kind = StorageKind::kTable;
      spec.storage.bits = c.table_bits;
    }
    spec.solve.solver = Solver::kBeam;
    return spec;
  }

  CodebookProblemSetup Make(const CodebookCase& c, uint64_t seed = 1) {
    CodebookProblemSetup p;
    p.spec = SpecOf(c);
    p.shape = AdditiveShape::Of(p.spec, c.m, c.n);
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    p.w.resize(c.m * c.n);
    for (float& v : p.w) v = normal(random);
    if (c.identity) {
      p.metric = Metric::Identity(c.n);
      p.h.assign(c.n * c.n, 0.0);
      for (int64_t k = 0; k < c.n; ++k) p.h[k * c.n + k] = 1;
    } else {
      SetHessian(reference::CorrelatedCase(1, c.n, seed + 100).h, &p);
    }
    p.code.books.resize(p.shape.book_numbers());
    for (float& v : p.code.books) v = 0.7f * normal(random);
    p.code.codes.resize(p.shape.codes());
    for (uint16_t& v : p.code.codes) v = static_cast<uint16_t>(random() % p.shape.entries);
    p.code.scales.resize(p.shape.out_groups() * p.shape.scale_columns);
    for (float& v : p.code.scales) v = 0.3f + 0.1f * std::fabs(normal(random));
    if (c.table_bits > 0) {
      p.table_entries = int64_t{1} << c.table_bits;
      p.code.scale_tables.resize(p.shape.out_groups() * p.table_entries);
      for (float& v : p.code.scale_tables) v = 0.3f + 0.1f * std::fabs(normal(random));
      p.code.scale_codes.resize(p.code.scales.size());
      for (size_t k = 0; k < p.code.scales.size(); ++k) {
        p.code.scale_codes[k] = static_cast<uint8_t>(random() % p.table_entries);
      }
      CopyScalesFromTables(p, &p.code);
    }
    return p;
  }

  static void CopyScalesFromTables(const CodebookProblemSetup& p, AdditiveCode* code) {
    for (size_t k = 0; k < code->scales.size(); ++k) {
      const int64_t group = static_cast<int64_t>(k) / p.shape.scale_columns;
      code->scales[k] = code->scale_tables[group * p.table_entries + code->scale_codes[k]];
    }
  }

  CodebookUpdate Update(const CodebookProblemSetup& p) { return Update(p, executor_); }
  CodebookUpdate Update(const CodebookProblemSetup& p, Executor& executor) {
    return *CodebookUpdate::Create(p.spec, p.shape, p.view(), p.metric, executor, cancel_);
  }

  static bool IsF16(float v) { return RoundTo(DType::kF16, v) == v; }

  InlineExecutor executor_;
  CancelToken cancel_;
};

inline std::string CodebookCaseName(const ::testing::TestParamInfo<CodebookCase>& info) {
  std::string name = info.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace quantd
