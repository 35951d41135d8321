#include "workers/solve/codebook_update.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "workers/core/status_macros.h"
#include "workers/solve/scale_fit.h"

namespace quantd {
namespace {

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t k = 0; k < a.size(); ++k) sum += a[k] * b[k];
  return sum;
}

}  // namespace

CodebookProblem CodebookUpdate::ProblemOf(const Spec& spec, const AdditiveShape& shape,
                                          const WeightView& weight, const Metric* metric) {
  CodebookProblem problem;
  problem.shape = shape;
  problem.weight = weight;
  problem.metric = metric;
  problem.tables = spec.storage.kind == StorageKind::kTable && shape.scale_columns > 1;
  problem.scale_parameters = problem.tables ? int64_t{1} << spec.storage.bits : shape.scale_columns;
  return problem;
}

absl::StatusOr<CodebookUpdate> CodebookUpdate::Create(const Spec& spec, const AdditiveShape& shape,
                                                      const WeightView& weight,
                                                      const Metric& metric, Executor& executor,
                                                      const CancelToken& cancel) {
  CodebookUpdate update;
  update.spec_ = &spec;
  update.problem_ = ProblemOf(spec, shape, weight, &metric);
  update.tiles_ = CodebookTiles(shape);
  update.preconditioner_kind_ = CodebookPreconditioner::Choose(shape, metric.identity());
  update.residual_.resize(shape.book_numbers());
  if (update.adam()) {
    update.book_moments_ = AdamMoments(spec.solve.adam, shape.book_numbers());
    update.scale_moments_ = AdamMoments(spec.solve.adam, update.problem_.scale_numbers());
    update.scale_residual_.resize(update.problem_.scale_numbers());
    update.best_books_.resize(shape.book_numbers());
    update.best_scales_.resize(update.problem_.scale_numbers());
  } else {
    update.direction_.resize(shape.book_numbers());
  }
  QUANTD_RETURN_IF_ERROR(update.MultiplyWeight(executor, cancel));
  return update;
}

absl::Status CodebookUpdate::MultiplyWeight(Executor& executor, const CancelToken& cancel) {
  const int64_t og = shape().out_group, n = shape().n;
  const bool keep = !problem_.metric->identity() && shape().scale_columns == 1;
  if (keep) {
    QUANTD_ASSIGN_OR_RETURN(weight_product_,
                            Buffer::AllocateUnfilled(shape().m * n * sizeof(float)));
  }
  std::vector<double> energies(shape().out_groups());
  QUANTD_RETURN_IF_ERROR(
      tiles_.ForEach(keep ? 1 : 2, executor, cancel, [&](const Tile& tile, Scratch* scratch) {
        float* w = scratch->array(0);
        for (int64_t k = 0; k < tile.count * og && !cancel.cancelled(); ++k) {
          problem_.weight.ReadRows(tile.first * og + k, 1, w + k * n);
        }
        float* room =
            keep ? weight_product_.As<float>().data() + tile.first * og * n : scratch->array(1);
        const float* product = TimesMetric(problem_, tile, w, room, cancel);
        if (cancel.cancelled()) return;
        OutGroupDots(problem_, tile, w, product, energies.data() + tile.first);
      }));
  weight_energy_ = std::accumulate(energies.begin(), energies.end(), 0.0);
  return absl::OkStatus();
}

absl::StatusOr<double> CodebookUpdate::Begin(AdditiveCode* code, Executor& executor,
                                             const CancelToken& cancel) {
  if (adam()) {
    QUANTD_RETURN_IF_ERROR(AdamGradient(code, executor, cancel));
    first_loss_ = loss_;
    KeepBest(code);
  } else {
    QUANTD_RETURN_IF_ERROR(BeginDirections(code, executor, cancel));
    first_loss_ = loss_;
  }
  return loss_;
}

absl::StatusOr<double> CodebookUpdate::Step(AdditiveCode* code, Executor& executor,
                                            const CancelToken& cancel) {
  if (!adam()) {
    QUANTD_RETURN_IF_ERROR(StepDirections(code, executor, cancel));
    return loss_;
  }
  // The loss is divided by the rows, as AQLM does: it decides what epsilon weighs.
  const double factor = -2.0 / static_cast<double>(shape().m);
  const double rate = spec_->solve.learning_rate;
  book_moments_.Step(rate, factor, residual_, &code->books);
  scale_moments_.Step(rate, factor, scale_residual_, &ScaleParameters(code));
  if (problem_.tables) {
    ExpandTables(problem_, shape().out_groups(), code->scale_tables.data(),
                 code->scale_codes.data(), code->scales.data());
  }
  QUANTD_RETURN_IF_ERROR(AdamGradient(code, executor, cancel));
  if (loss_ < best_loss_) KeepBest(code);
  return loss_;
}

double CodebookUpdate::End(AdditiveCode* code) {
  if (!adam() || loss_ <= first_loss_) return loss_;
  if (!std::isfinite(loss_)) {
    book_moments_.Clear();
    scale_moments_.Clear();
  }
  code->books = best_books_;
  ScaleParameters(code) = best_scales_;
  if (problem_.tables) {
    ExpandTables(problem_, shape().out_groups(), code->scale_tables.data(),
                 code->scale_codes.data(), code->scales.data());
  }
  loss_ = best_loss_;
  return loss_;
}

void CodebookUpdate::KeepBest(AdditiveCode* code) {
  best_loss_ = loss_;
  best_books_ = code->books;
  best_scales_ = ScaleParameters(code);
}

absl::Status CodebookUpdate::BeginDirections(AdditiveCode* code, Executor& executor,
                                             const CancelToken& cancel) {
  ScaleState fitted = ScalesOf(*code);
  LaneSums sums(tiles_.lanes(), shape().book_numbers());
  QUANTD_RETURN_IF_ERROR(
      tiles_.ForEach(FitArrays(), executor, cancel, [&](const Tile& tile, Scratch* scratch) {
        const float* product = FitTile(*code, tile, scratch, cancel, &fitted);
        if (product == nullptr) return;
        ScatterAdd(problem_, tile, product, code->codes.data(),
                   fitted.scales.data() + tile.first * shape().scale_columns, cancel,
                   sums.lane(tile.lane));
      }));
  code->scales = std::move(fitted.scales);
  if (problem_.tables) code->scale_tables = std::move(fitted.tables);
  loss_ = std::max(std::accumulate(fitted.losses.begin(), fitted.losses.end(), 0.0), 0.0);
  sums.Join(executor, &residual_);
  preconditioner_.reset();
  QUANTD_RETURN_IF_ERROR(Precondition(*code, executor, cancel));
  preconditioner_->Apply(residual_, executor, &direction_);
  fall_ = Dot(residual_, direction_);
  return absl::OkStatus();
}

absl::Status CodebookUpdate::Precondition(const AdditiveCode& code, Executor& executor,
                                          const CancelToken& cancel) {
  if (preconditioner_.has_value()) return absl::OkStatus();
  QUANTD_ASSIGN_OR_RETURN(preconditioner_,
                          CodebookPreconditioner::Create(preconditioner_kind_, shape(),
                                                         *problem_.metric, code, executor, cancel));
  return absl::OkStatus();
}

absl::Status CodebookUpdate::StepDirections(AdditiveCode* code, Executor& executor,
                                            const CancelToken& cancel) {
  QUANTD_RETURN_IF_ERROR(Precondition(*code, executor, cancel));
  const std::vector<float> direction(direction_.begin(), direction_.end());
  LaneSums sums(tiles_.lanes(), shape().book_numbers());
  std::vector<double> forms(shape().out_groups());
  QUANTD_RETURN_IF_ERROR(
      tiles_.ForEach(2, executor, cancel, [&](const Tile& tile, Scratch* scratch) {
        const int64_t og = shape().out_group;
        const float* scales = code->scales.data() + tile.first * shape().scale_columns;
        float* step = scratch->array(0);
        for (int64_t i = 0; i < tile.count && !cancel.cancelled(); ++i) {
          DecodeOutGroup(
              shape(), direction.data(),
              code->codes.data() + (tile.first + i) * shape().in_groups() * shape().codebooks,
              scales + i * shape().scale_columns, step + i * og * shape().n);
        }
        const float* product = TimesMetric(problem_, tile, step, scratch->array(1), cancel);
        if (cancel.cancelled()) return;
        OutGroupDots(problem_, tile, step, product, forms.data() + tile.first);
        ScatterAdd(problem_, tile, product, code->codes.data(), scales, cancel,
                   sums.lane(tile.lane));
      }));
  // The minimum along the direction: no step raises the loss, whatever the direction.
  const double gain = Dot(residual_, direction_);
  const double form = std::accumulate(forms.begin(), forms.end(), 0.0), length = gain / form;
  if (!(gain > 0) || !(form > 0) || !std::isfinite(static_cast<float>(length))) {
    return absl::OkStatus();
  }
  std::vector<double> product;
  sums.Join(executor, &product);
  for (size_t k = 0; k < product.size(); ++k) {
    code->books[k] = static_cast<float>(code->books[k] + length * direction[k]);
    residual_[k] -= length * product[k];
  }
  loss_ = std::max(loss_ - gain * length, 0.0);

  // Polak-Ribiere: the part of the new residual that the old one had does not count. Directions
  // that would go back are dropped.
  std::vector<double> downhill;
  preconditioner_->Apply(residual_, executor, &downhill);
  const double beta = std::max(0.0, -length * Dot(downhill, product) / fall_);
  fall_ = Dot(residual_, downhill);
  for (size_t k = 0; k < downhill.size(); ++k) direction_[k] = downhill[k] + beta * direction_[k];
  if (!(Dot(residual_, direction_) > 0)) direction_ = std::move(downhill);
  return absl::OkStatus();
}

absl::Status CodebookUpdate::AdamGradient(AdditiveCode* code, Executor& executor,
                                          const CancelToken& cancel) {
  ScaleState state = ScalesOf(*code);
  LaneSums sums(tiles_.lanes(), shape().book_numbers());
  QUANTD_RETURN_IF_ERROR(
      tiles_.ForEach(3, executor, cancel, [&](const Tile& tile, Scratch* scratch) {
        float* unscaled = scratch->array(0);
        DecodeUnscaled(problem_, tile, code->books.data(), code->codes.data(), cancel, unscaled);
        const float* product = Evaluate(tile, scratch, cancel, &state);
        if (product == nullptr) return;
        const int64_t first = tile.first * shape().scale_columns;
        ScatterAdd(problem_, tile, product, code->codes.data(), state.scales.data() + first, cancel,
                   sums.lane(tile.lane));
        ScaleGradient(problem_, tile, unscaled, product,
                      problem_.tables ? code->scale_codes.data() + first : nullptr,
                      scale_residual_.data() + tile.first * problem_.scale_parameters);
      }));
  sums.Join(executor, &residual_);
  loss_ = std::accumulate(state.losses.begin(), state.losses.end(), 0.0);
  return absl::OkStatus();
}

void CodebookUpdate::Save(StateWriter* out) const {
  out->Number(loss_);
  out->Number(first_loss_);
  out->Numbers(residual_);
  if (!adam()) {
    out->Number(fall_);
    out->Numbers(direction_);
    return;
  }
  out->Numbers(scale_residual_);
  book_moments_.Save(out);
  scale_moments_.Save(out);
  out->Number(best_loss_);
  out->Numbers(best_books_);
  out->Numbers(best_scales_);
}

absl::Status CodebookUpdate::Load(StateReader* in) {
  preconditioner_.reset();
  QUANTD_RETURN_IF_ERROR(in->Number(&loss_));
  QUANTD_RETURN_IF_ERROR(in->Number(&first_loss_));
  QUANTD_RETURN_IF_ERROR(in->Numbers(residual_.size(), &residual_));
  if (!adam()) {
    QUANTD_RETURN_IF_ERROR(in->Number(&fall_));
    return in->Numbers(direction_.size(), &direction_);
  }
  QUANTD_RETURN_IF_ERROR(in->Numbers(scale_residual_.size(), &scale_residual_));
  QUANTD_RETURN_IF_ERROR(book_moments_.Load(in));
  QUANTD_RETURN_IF_ERROR(scale_moments_.Load(in));
  QUANTD_RETURN_IF_ERROR(in->Number(&best_loss_));
  QUANTD_RETURN_IF_ERROR(in->Numbers(best_books_.size(), &best_books_));
  return in->Numbers(best_scales_.size(), &best_scales_);
}

int CodebookUpdate::FitArrays(const AdditiveShape& shape, bool identity) {
  if (identity) return shape.scale_columns == 1 ? 2 : 4;
  return shape.scale_columns == 1 ? 3 : 5;
}

uint64_t CodebookUpdate::HeldBytes(const Spec& spec, const AdditiveShape& shape, bool identity) {
  const uint64_t books = shape.book_numbers();
  const uint64_t scales = ProblemOf(spec, shape, WeightView(), nullptr).scale_numbers();
  uint64_t bytes = books * sizeof(double);
  if (!identity && shape.scale_columns == 1) bytes += shape.m * shape.n * sizeof(float);
  if (spec.solve.update == CodebookRule::kAdam) {
    return bytes + scales * sizeof(double) + (books + scales) * sizeof(float) +
           AdamMoments::Bytes(spec.solve.adam, books + scales);
  }
  // The direction, and a step's copy of it, its product and the preconditioned residual.
  return bytes + books * (3 * sizeof(double) + sizeof(float)) +
         CodebookPreconditioner::Bytes(CodebookPreconditioner::Choose(shape, identity), shape);
}

uint64_t CodebookUpdate::LaneBytes(const AdditiveShape& shape) {
  return CodebookTiles(shape).lanes() * shape.book_numbers() * sizeof(double);
}

uint64_t CodebookUpdate::ScratchBytes(const AdditiveShape& shape, bool identity) {
  return CodebookTiles(shape).ScratchBytes(std::max(3, FitArrays(shape, identity)));
}

}  // namespace quantd
