#include "workers/fit/residual_kmeans.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"
#include "workers/fit/lane_sums.h"
#include "workers/fit/patch_scales.h"
#include "workers/fit/residual_points.h"
#include "workers/fit/residual_refine.h"
#include "workers/fit/sampling.h"
#include "workers/fit/vector_kmeans.h"

namespace quantd {
namespace {

// Which of a codebook's random streams.
enum class Draw : uint64_t { kTraining = 1, kSeeding = 2 };

uint64_t StreamSeed(const Spec& spec, int64_t book, Draw draw) {
  const uint64_t first = SplitMix64(spec.fit.seed).Next();
  return SplitMix64(first + 4 * static_cast<uint64_t>(book) + static_cast<uint64_t>(draw)).Next();
}

bool AllFinite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

int64_t StepsOfBook(const Spec& spec) {
  return 2 + spec.fit.iterations + spec.fit.refine_rounds;  // a seeding and an assignment
}

}  // namespace

absl::StatusOr<ResidualKMeans> ResidualKMeans::Create(const Spec& spec, const AdditiveShape& shape,
                                                      const WeightView& weight,
                                                      const float* hessian_blocks) {
  const int64_t patches = shape.out_groups() * shape.in_groups();
  if (patches < shape.entries) {
    return absl::InvalidArgumentError(absl::StrCat(
        "levels.codebook_bits = ", spec.levels.codebook_bits, " asks for ", shape.entries,
        " entries, but a ", shape.m, " x ", shape.n, " weight has only ", patches, " patches of ",
        shape.out_group, " x ", shape.in_group, "; lower it or take smaller patches"));
  }
  return ResidualKMeans(spec, shape, weight, hessian_blocks);
}

ResidualKMeans::ResidualKMeans(const Spec& spec, const AdditiveShape& shape,
                               const WeightView& weight, const float* hessian_blocks)
    : spec_(spec), shape_(shape), weight_(weight) {
  if (hessian_blocks != nullptr && spec.fit.refine_rounds > 0) {
    blocks_ = DampedBlocks(shape, hessian_blocks);
  }
  code_.books.assign(shape.book_numbers(), 0.0f);
  code_.codes.assign(shape.codes(), 0);
  ReshapePatchScales(spec, shape, &code_);
}

absl::Status ResidualKMeans::Step(Executor& executor, const CancelToken& cancel) {
  QUANTD_RETURN_IF_ERROR(cancel.Check());
  switch (stage_) {
    case Stage::kScales:
      FitScales(executor, cancel);
      break;
    case Stage::kSeed:
    case Stage::kLloyd:
      Train(executor, cancel);
      break;
    case Stage::kRefine:
      Refine(executor, cancel);
      break;
    case Stage::kAssign:
      Assign(executor, cancel);
      break;
    case Stage::kDone:
      break;
  }
  return cancel.Check();
}

double ResidualKMeans::fraction() const {
  if (done()) return 1.0;
  const int64_t of_book = StepsOfBook(spec_);
  int64_t steps = book_ * of_book;
  switch (stage_) {
    case Stage::kLloyd:
      steps += 1 + iteration_;
      break;
    case Stage::kRefine:
      steps += 1 + spec_.fit.iterations + iteration_;
      break;
    case Stage::kAssign:
      steps += of_book - 1;
      break;
    default:
      break;
  }
  return static_cast<double>(steps) / static_cast<double>(shape_.codebooks * of_book);
}

void ResidualKMeans::FitScales(Executor& executor, const CancelToken& cancel) {
  // Tables cost a k-means for each out group.
  const bool tables = spec_.storage.kind == StorageKind::kTable;
  const int64_t patches = tables ? int64_t{1} << 20 : int64_t{1} << 26;
  const int64_t count = std::max<int64_t>(patches / shape_.in_groups(), 1);
  const int64_t end = std::min(shape_.out_groups(), scaled_ + count);
  FitPatchScales(spec_, shape_, weight_, scaled_, end, executor, cancel, &code_);
  if (cancel.cancelled()) return;
  scaled_ = end;
  if (scaled_ == shape_.out_groups()) stage_ = Stage::kSeed;
}

bool ResidualKMeans::TrainsOnSome() const {
  const int64_t patches = shape_.out_groups() * shape_.in_groups();
  return spec_.fit.points_per_center > 0 &&
         spec_.fit.points_per_center < (patches + shape_.entries - 1) / shape_.entries;
}

void ResidualKMeans::DrawTraining(const CancelToken& cancel) {
  if (training_book_ == book_) return;
  training_.clear();
  if (TrainsOnSome()) {
    training_ = SampleInOrder(shape_.out_groups() * shape_.in_groups(),
                              spec_.fit.points_per_center * shape_.entries,
                              StreamSeed(spec_, book_, Draw::kTraining), cancel);
  }
  if (!cancel.cancelled()) training_book_ = book_;
}

void ResidualKMeans::Train(Executor& executor, const CancelToken& cancel) {
  DrawTraining(cancel);
  if (cancel.cancelled()) return;
  const ResidualPoints points(shape_, weight_, code_, book_);
  const auto read = [&](int64_t begin, int64_t rows, float* out) {
    if (training_.empty()) {
      points.Read(begin, rows, out);
    } else {
      points.ReadChosen(&training_[begin], rows, out);
    }
  };
  const int64_t count = training_.empty() ? points.count() : static_cast<int64_t>(training_.size());
  const PointSource source{count, shape_.patch(), read};
  if (stage_ == Stage::kSeed) {
    std::vector<float> seeds =
        SeedCenters(source, shape_.entries, spec_.fit.seeding,
                    StreamSeed(spec_, book_, Draw::kSeeding), executor, cancel);
    if (cancel.cancelled()) return;
    centers_ = std::move(seeds);
    iteration_ = 0;
    stage_ = Stage::kLloyd;
    return;
  }
  std::vector<float> centers = centers_;
  const bool moved = LloydStep(source, executor, cancel, &centers);
  if (cancel.cancelled()) return;
  centers_ = std::move(centers);
  if (!moved || ++iteration_ >= spec_.fit.iterations) LeaveLloyd();
}

void ResidualKMeans::LeaveLloyd() {
  iteration_ = 0;
  stage_ = spec_.fit.refine_rounds > 0 ? Stage::kRefine : Stage::kAssign;
}

void ResidualKMeans::Refine(Executor& executor, const CancelToken& cancel) {
  const ResidualPoints points(shape_, weight_, code_, book_);
  std::vector<float> centers = centers_;
  if (blocks_.empty()) {
    const auto read = [&](int64_t begin, int64_t rows, float* out) {
      points.Read(begin, rows, out);
    };
    LloydStep(PointSource{points.count(), shape_.patch(), read}, executor, cancel, &centers);
  } else {
    const CenterIndex index(centers.data(), shape_.entries, shape_.patch());
    const std::vector<double> sums = RefineSums(shape_, points, blocks_, index,
                                                /*plain=*/iteration_ == 0, executor, cancel);
    if (!sums.empty()) AdamOnCenters(shape_, sums, executor, cancel, &centers);
  }
  if (cancel.cancelled()) return;
  centers_ = std::move(centers);
  if (++iteration_ == spec_.fit.refine_rounds) stage_ = Stage::kAssign;
}

void ResidualKMeans::Assign(Executor& executor, const CancelToken& cancel) {
  const ResidualPoints points(shape_, weight_, code_, book_);
  const CenterIndex index(centers_.data(), shape_.entries, shape_.patch());
  uint16_t* codes = code_.codes.data() + book_;
  if (!blocks_.empty()) {
    AssignByBlocks(shape_, points, blocks_, index, executor, cancel, codes);
  } else {
    constexpr int64_t kRun = 8192;
    executor.ParallelFor((points.count() + kRun - 1) / kRun, [&](int64_t run) {
      const int64_t end = std::min(points.count(), (run + 1) * kRun);
      std::vector<float> batch(index.batch() * shape_.patch());
      std::vector<int32_t> nearest(index.batch());
      for (int64_t p = run * kRun; p < end && !cancel.cancelled(); p += index.batch()) {
        const int64_t rows = std::min(index.batch(), end - p);
        points.Read(p, rows, batch.data());
        index.Nearest(batch.data(), rows, nearest.data());
        for (int64_t r = 0; r < rows; ++r) {
          codes[(p + r) * shape_.codebooks] = static_cast<uint16_t>(nearest[r]);
        }
      }
    });
  }
  if (cancel.cancelled()) return;
  std::copy(centers_.begin(), centers_.end(),
            code_.books.begin() + book_ * shape_.entries * shape_.patch());
  centers_.clear();
  iteration_ = 0;
  stage_ = ++book_ == shape_.codebooks ? Stage::kDone : Stage::kSeed;
}

void ResidualKMeans::Save(StateWriter* out) const {
  out->Number(static_cast<uint8_t>(stage_));
  out->Number(scaled_);
  out->Number(book_);
  out->Number(iteration_);
  out->Numbers(centers_);
  out->Numbers(code_.scales);
  out->Numbers(code_.scale_tables);
  out->Numbers(code_.scale_codes);
  out->Numbers(code_.books);
  // Codes are most of the bytes, and until a codebook has ended there are none. Those of one under
  // way are not saved: its assignment writes them all.
  out->Numbers(book_ > 0 ? code_.codes : std::vector<uint16_t>());
}

absl::Status ResidualKMeans::Load(StateReader* in) {
  ResidualKMeans loaded = *this;
  uint8_t stage = 0;
  QUANTD_RETURN_IF_ERROR(in->Number(&stage));
  QUANTD_RETURN_IF_ERROR(in->Number(&loaded.scaled_));
  QUANTD_RETURN_IF_ERROR(in->Number(&loaded.book_));
  QUANTD_RETURN_IF_ERROR(in->Number(&loaded.iteration_));
  if (stage > static_cast<uint8_t>(Stage::kDone)) {
    return absl::InvalidArgumentError("the saved state is not one of a residual k-means");
  }
  loaded.stage_ = static_cast<Stage>(stage);
  const bool trains = loaded.stage_ == Stage::kLloyd || loaded.stage_ == Stage::kRefine ||
                      loaded.stage_ == Stage::kAssign;
  AdditiveCode& code = loaded.code_;
  QUANTD_RETURN_IF_ERROR(
      in->Numbers(trains ? shape_.entries * shape_.patch() : 0, &loaded.centers_));
  QUANTD_RETURN_IF_ERROR(in->Numbers(code_.scales.size(), &code.scales));
  QUANTD_RETURN_IF_ERROR(in->Numbers(code_.scale_tables.size(), &code.scale_tables));
  QUANTD_RETURN_IF_ERROR(in->Numbers(code_.scale_codes.size(), &code.scale_codes));
  QUANTD_RETURN_IF_ERROR(in->Numbers(code_.books.size(), &code.books));
  QUANTD_RETURN_IF_ERROR(in->Numbers(loaded.book_ > 0 ? shape_.codes() : 0, &code.codes));
  code.codes.resize(shape_.codes(), 0);
  if (!loaded.LoadedIsSound()) {
    return absl::InvalidArgumentError("the saved state is not one of a residual k-means");
  }
  stage_ = loaded.stage_;
  scaled_ = loaded.scaled_;
  book_ = loaded.book_;
  iteration_ = loaded.iteration_;
  centers_ = std::move(loaded.centers_);
  code_ = std::move(loaded.code_);
  training_book_ = -1;
  return absl::OkStatus();
}

// Whatever would make a later step read or write out of bounds.
bool ResidualKMeans::LoadedIsSound() const {
  const bool scaling = stage_ == Stage::kScales;
  if (scaled_ < 0 || (scaling ? scaled_ >= shape_.out_groups() : scaled_ != shape_.out_groups())) {
    return false;
  }
  if (book_ < 0 || (done() ? book_ != shape_.codebooks : book_ >= shape_.codebooks)) return false;
  if (scaling && book_ > 0) return false;
  const int64_t iterations = stage_ == Stage::kLloyd    ? spec_.fit.iterations
                             : stage_ == Stage::kRefine ? spec_.fit.refine_rounds
                                                        : 0;
  const bool counts = stage_ == Stage::kLloyd || stage_ == Stage::kRefine;
  // The last refinement round leaves its count behind.
  if (stage_ == Stage::kAssign) {
    if (iteration_ < 0 || iteration_ > spec_.fit.refine_rounds) return false;
  } else if (iteration_ < 0 || (counts ? iteration_ >= iterations : iteration_ != 0)) {
    return false;
  }
  if (!AllFinite(centers_) || !AllFinite(code_.books) || !AllFinite(code_.scale_tables)) {
    return false;
  }
  const auto positive = [](float s) { return s > 0 && std::isfinite(s); };
  if (!std::all_of(code_.scales.begin(), code_.scales.end(), positive)) return false;
  const int64_t table = spec_.storage.kind == StorageKind::kTable ? 1 << spec_.storage.bits : 0;
  return std::all_of(code_.codes.begin(), code_.codes.end(),
                     [&](uint16_t c) { return c < shape_.entries; }) &&
         std::all_of(code_.scale_codes.begin(), code_.scale_codes.end(),
                     [&](uint8_t c) { return c < table; });
}

uint64_t ResidualKMeans::Bytes(const Spec& spec, const AdditiveShape& shape, int width) {
  const uint64_t patch = shape.patch(), entries = shape.entries;
  const uint64_t patches = shape.out_groups() * shape.in_groups();
  uint64_t bytes = 4 * shape.book_numbers() + 2 * shape.codes() +
                   5 * static_cast<uint64_t>(shape.out_groups() * shape.scale_columns);
  if (spec.storage.kind == StorageKind::kTable) {
    bytes += 4 * (static_cast<uint64_t>(shape.out_groups()) << spec.storage.bits);
  }
  bytes += 4 * 4 * entries * patch;  // centers, new ones, and laid out for scans
  if (spec.fit.points_per_center > 0) {
    const double some = static_cast<double>(spec.fit.points_per_center) * entries;
    bytes += 8 * static_cast<uint64_t>(std::min(some, static_cast<double>(patches)));
  }
  const auto sums = [&](uint64_t numbers, int64_t items) {
    const int64_t lanes = SumLanes(items, static_cast<int64_t>(numbers));
    return 8 * numbers * (1 + std::min<uint64_t>(lanes, width));
  };
  uint64_t step = sums(entries * (patch + 1), patches);
  if (spec.fit.refine_rounds > 0) {
    const uint64_t square = shape.in_group * shape.in_group;
    step = std::max(step, sums(entries * (square + patch), shape.in_groups()));
    bytes += 4 * square * shape.in_groups();
  }
  if (spec.fit.seeding != Seeding::kRandom) {
    const uint64_t sample = std::min(patches, std::max((uint64_t{1} << 19) / patch, 4 * entries));
    step = std::max(step, sample * (4 * patch + 12));  // points, distances, their numbers
  }
  return bytes + step;
}

}  // namespace quantd
