#include "workers/levels/additive.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "workers/levels/decode.h"

namespace quantd {
namespace {

Spec SpecOf(int out_group, int in_group, int books, int bits, bool group_scales) {
  Spec spec;
  spec.levels.kind = LevelKind::kAdditive;
  spec.levels.out_group = out_group;
  spec.levels.in_group = in_group;
  spec.levels.codebooks = books;
  spec.levels.codebook_bits = bits;
  spec.partition.granularity = group_scales ? Granularity::kGroup : Granularity::kRow;
  spec.partition.group_size = in_group;
  return spec;
}

struct Sample {
  AdditiveShape shape;
  Coded coded;
  CodedShared shared;
};

// Coded::shared points into the sample.
void Fill(const Spec& spec, int64_t m, int64_t n, Sample* sample) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  sample->shape = AdditiveShape::Of(spec, m, n);
  sample->shared.codebooks.resize(sample->shape.book_numbers());
  for (float& v : sample->shared.codebooks) v = normal(random);
  sample->coded.Reshape(spec, 0, m, m, n, &sample->shared);
  for (uint16_t& v : sample->coded.book_codes) {
    v = static_cast<uint16_t>(random() % sample->shape.entries);
  }
  for (float& v : sample->coded.scales) v = normal(random);
}

TEST(AdditiveTest, ShapeCountsGroups) {
  const AdditiveShape shape = AdditiveShape::Of(SpecOf(2, 8, 3, 5, false), 12, 64);
  EXPECT_EQ(shape.out_groups(), 6);
  EXPECT_EQ(shape.in_groups(), 8);
  EXPECT_EQ(shape.patch(), 16);
  EXPECT_EQ(shape.entries, 32);
  EXPECT_EQ(shape.book_numbers(), 3 * 32 * 16);
  EXPECT_EQ(shape.codes(), 6 * 8 * 3);
  EXPECT_EQ(shape.scale_columns, 1);
  EXPECT_EQ(AdditiveShape::Of(SpecOf(2, 8, 3, 5, true), 12, 64).scale_columns, 8);
}

TEST(AdditiveTest, RowsAreScaledSumsOfEntries) {
  for (const auto& [og, ig] : {std::pair{1, 8}, {1, 4}, {2, 16}, {3, 5}, {4, 64}, {1, 1}}) {
    for (const int books : {1, 2, 5}) {
      for (const bool group_scales : {false, true}) {
        Sample sample;
        const int64_t m = 2 * og, n = 3 * ig;
        Fill(SpecOf(og, ig, books, 4, group_scales), m, n, &sample);
        const AdditiveShape& s = sample.shape;
        std::vector<float> decoded(m * n);
        Decode(sample.coded, decoded.data());
        for (int64_t r = 0; r < m; ++r) {
          for (int64_t c = 0; c < n; ++c) {
            const int64_t i = r / og, j = c / ig;
            float sum = 0;
            for (int64_t k = 0; k < books; ++k) {
              const int64_t code = sample.coded.book_codes[(i * s.in_groups() + j) * books + k];
              sum += sample.shared.codebooks[((k * s.entries + code) * og + r % og) * ig + c % ig];
            }
            const float scale = sample.coded.scales[group_scales ? i * s.in_groups() + j : i];
            ASSERT_EQ(decoded[r * n + c], sum * scale) << og << "x" << ig << " " << r << " " << c;
          }
        }
      }
    }
  }
}

TEST(AdditiveTest, OutGroupsAndPatchesHaveTheBitsOfRows) {
  for (const bool group_scales : {false, true}) {
    Sample sample;
    Fill(SpecOf(2, 8, 3, 6, group_scales), 6, 40, &sample);
    const AdditiveShape& s = sample.shape;
    std::vector<float> decoded(6 * 40), group(2 * 40), patch(16);
    Decode(sample.coded, decoded.data());
    for (int64_t i = 0; i < 3; ++i) {
      const uint16_t* codes = sample.coded.book_codes.data() + i * s.in_groups() * 3;
      const float* scales = sample.coded.scales.data() + i * s.scale_columns;
      DecodeOutGroup(s, sample.shared.codebooks.data(), codes, scales, group.data());
      EXPECT_TRUE(std::equal(group.begin(), group.end(), decoded.begin() + i * 80));
      for (int64_t j = 0; j < 5; ++j) {
        DecodePatch(s, sample.shared.codebooks.data(), codes + j * 3, scales[group_scales ? j : 0],
                    patch.data());
        for (int64_t k = 0; k < 16; ++k) EXPECT_EQ(patch[k], group[k / 8 * 40 + j * 8 + k % 8]);
      }
    }
  }
}

TEST(AdditiveTest, LargestCodesOfSixteenBitsDecode) {
  Sample sample;
  Fill(SpecOf(1, 2, 1, 16, false), 1, 4, &sample);
  sample.coded.book_codes = {65535, 32768};
  sample.coded.scales = {2.0f};
  std::vector<float> row(4);
  DecodeAdditiveRow(sample.coded, 0, row.data());
  const std::vector<float>& books = sample.shared.codebooks;
  EXPECT_EQ(row, (std::vector<float>{2 * books[131070], 2 * books[131071], 2 * books[65536],
                                     2 * books[65537]}));
}

}  // namespace
}  // namespace quantd
