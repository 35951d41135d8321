// Additive levels: the AQLM checkpoint, and the patches that the plain layout shares with it.
#include "absl/strings/str_cat.h"
#include "client/files/independent_fields.h"
#include "workers/core/status_macros.h"

namespace quantd::independent {

absl::StatusOr<Bytes> FindCodebooks(const Tensors& tensors) {
  const Levels& levels = tensors.module().spec.levels;
  const int64_t books = levels.codebooks, og = levels.out_group, ig = levels.in_group;
  if (books < 1 || levels.codebook_bits < 1 || levels.codebook_bits > 16 || og < 1 || ig < 1) {
    return tensors.Bad(".codebooks", absl::StrCat(books, " codebooks of ", levels.codebook_bits,
                                                  " bits over patches of ", og, " x ", ig));
  }
  if (tensors.rows() % og != 0 || tensors.cols() % ig != 0) {
    return tensors.Bad(".codebooks", absl::StrCat("patches of ", og, " x ", ig, " do not fill ",
                                                  ShapeString({tensors.rows(), tensors.cols()})));
  }
  return tensors.Find(".codebooks", DType::kF16,
                      {books, int64_t{1} << levels.codebook_bits, og, ig});
}

float PatchSum(const Levels& levels, Bytes codebooks, int64_t row, int64_t column,
               absl::FunctionRef<int(int)> code) {
  const int64_t og = levels.out_group, ig = levels.in_group;
  float sum = 0;
  for (int book = 0; book < levels.codebooks; ++book) {
    const int64_t entry = (int64_t{book} << levels.codebook_bits) + code(book);
    sum += Real(codebooks, DType::kF16, (entry * og + row % og) * ig + column % ig);
  }
  return sum;
}

Rows DecodeAqlm(const Tensors& tensors, int64_t begin, int64_t rows) {
  const Levels& levels = tensors.module().spec.levels;
  QUANTD_ASSIGN_OR_RETURN(const Bytes codebooks, FindCodebooks(tensors));
  const int bits = levels.codebook_bits, width = bits <= 8 ? 8 : 16;
  const int64_t og = levels.out_group, ig = levels.in_group, books = levels.codebooks;
  const int64_t out_groups = tensors.rows() / og, in_groups = tensors.cols() / ig;
  QUANTD_ASSIGN_OR_RETURN(
      const Bytes codes,
      tensors.Find(".codes", bits <= 8 ? DType::kI8 : DType::kI16, {out_groups, in_groups, books}));
  QUANTD_ASSIGN_OR_RETURN(const Bytes scales,
                          tensors.Find(".scales", DType::kF16, {out_groups, 1, 1, 1}));
  std::vector<float> out;
  std::vector<int> patch(books);
  for (int64_t r = begin; r < begin + rows; ++r) {
    const float scale = Real(scales, DType::kF16, r / og);
    for (int64_t k = 0; k < tensors.cols(); ++k) {
      const int64_t first = (r / og * in_groups + k / ig) * books;
      for (int64_t book = 0; k % ig == 0 && book < books; ++book) {
        // The signed number modulo 2^bits is its low bits; those above repeat the sign.
        const int64_t at = (first + book) * width;
        patch[book] = Field(codes, at, bits);
        const int above = Field(codes, at + bits, width - bits);
        const int sign = Bit(codes, at + bits - 1);
        if (above != (sign != 0 ? (1 << (width - bits)) - 1 : 0)) {
          return tensors.Bad(
              ".codes", absl::StrCat("element ", first + book, " is no number of ", bits, " bits"));
        }
      }
      const auto code = [&patch](int book) { return patch[book]; };
      out.push_back(PatchSum(levels, codebooks, r, k, code) * scale);
    }
  }
  return out;
}

}  // namespace quantd::independent
