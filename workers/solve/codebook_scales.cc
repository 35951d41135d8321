// The scales' half of CodebookUpdate.
#include <algorithm>
#include <numeric>

#include "workers/core/status_macros.h"
#include "workers/solve/codebook_update.h"
#include "workers/solve/scale_fit.h"

namespace quantd {
namespace {

// Products that a fit of many scales takes at the start of a round, and on its own.
constexpr int kRoundSteps = 3;
constexpr int kFitSteps = 8;

}  // namespace

CodebookUpdate::ScaleState CodebookUpdate::ScalesOf(const AdditiveCode& code) const {
  ScaleState state;
  state.scales = code.scales;
  if (problem_.tables) state.tables = code.scale_tables;
  state.losses.resize(shape().out_groups());
  return state;
}

absl::StatusOr<double> CodebookUpdate::Loss(const AdditiveCode& code, Executor& executor,
                                            const CancelToken& cancel) const {
  ScaleState state = ScalesOf(code);
  QUANTD_RETURN_IF_ERROR(
      tiles_.ForEach(3, executor, cancel, [&](const Tile& tile, Scratch* scratch) {
        DecodeUnscaled(problem_, tile, code.books.data(), code.codes.data(), cancel,
                       scratch->array(0));
        Evaluate(tile, scratch, cancel, &state);
      }));
  return std::accumulate(state.losses.begin(), state.losses.end(), 0.0);
}

absl::StatusOr<double> CodebookUpdate::FitScales(bool round_to_f16, AdditiveCode* code,
                                                 Executor& executor,
                                                 const CancelToken& cancel) const {
  ScaleState fitted = ScalesOf(*code);
  QUANTD_RETURN_IF_ERROR(
      tiles_.ForEach(FitArrays(), executor, cancel, [&](const Tile& tile, Scratch* scratch) {
        DecodeUnscaled(problem_, tile, code->books.data(), code->codes.data(), cancel,
                       scratch->array(0));
        if (shape().scale_columns == 1) {
          FitOne(*code, tile, round_to_f16, false, scratch, cancel, &fitted);
        } else {
          FitManyForKeeps(*code, tile, round_to_f16, scratch, cancel, &fitted);
        }
      }));
  code->scales = std::move(fitted.scales);
  if (problem_.tables) code->scale_tables = std::move(fitted.tables);
  return std::accumulate(fitted.losses.begin(), fitted.losses.end(), 0.0);
}

float* CodebookUpdate::Evaluate(const Tile& tile, Scratch* scratch, const CancelToken& cancel,
                                ScaleState* state) const {
  float* error = scratch->array(1);
  ErrorOf(problem_, tile, scratch->array(0),
          state->scales.data() + tile.first * shape().scale_columns, cancel, scratch->rows.data(),
          error);
  float* product = TimesMetric(problem_, tile, error, scratch->array(2), cancel);
  if (cancel.cancelled()) return nullptr;
  OutGroupDots(problem_, tile, error, product, state->losses.data() + tile.first);
  return product;
}

const float* CodebookUpdate::FitTile(const AdditiveCode& code, const Tile& tile, Scratch* scratch,
                                     const CancelToken& cancel, ScaleState* fitted) const {
  DecodeUnscaled(problem_, tile, code.books.data(), code.codes.data(), cancel, scratch->array(0));
  const float* product = shape().scale_columns == 1
                             ? FitOne(code, tile, false, true, scratch, cancel, fitted)
                             : FitMany(code, tile, kRoundSteps, scratch, cancel, fitted);
  if (product == nullptr) return nullptr;
  OutGroupDots(problem_, tile, scratch->array(1), product, fitted->losses.data() + tile.first);
  return product;
}

const float* CodebookUpdate::FitOne(const AdditiveCode& code, const Tile& tile, bool round_to_f16,
                                    bool move, Scratch* scratch, const CancelToken& cancel,
                                    ScaleState* fitted) const {
  const int64_t og = shape().out_group, numbers = og * shape().n;
  float* unscaled = scratch->array(0);
  float* error = scratch->array(1);
  float* w = scratch->rows.data();
  std::vector<float> at(tile.count);
  for (int64_t i = 0; i < tile.count && !cancel.cancelled(); ++i) {
    at[i] = code.scales[tile.first + i];
    if (at[i] != 0) continue;
    problem_.weight.ReadRows((tile.first + i) * og, og, w);
    at[i] = NonzeroScale(0, w, unscaled + i * numbers, numbers);
  }
  ErrorOf(problem_, tile, unscaled, at.data(), cancel, w, error);
  float* product = TimesMetric(problem_, tile, error, scratch->array(2), cancel);
  for (int64_t i = 0; i < tile.count && !cancel.cancelled(); ++i) {
    const int64_t group = tile.first + i;
    const bool identity = problem_.metric->identity();
    float* r = unscaled + i * numbers;
    float* e = error + i * numbers;
    float* t = product + i * numbers;
    if (identity || move) problem_.weight.ReadRows(group * og, og, w);
    const float* wh = identity ? w : weight_product_.As<float>().data() + group * numbers;
    const ScaleParabola parabola = ParabolaOf(at[i], r, e, t, wh, numbers);
    const float best = parabola.Best(code.scales[group], round_to_f16);
    fitted->scales[group] = best;
    fitted->losses[group] = std::max(parabola.Loss(best), 0.0);
    if (move && best != at[i]) MoveScale(at[i], best, w, r, wh, numbers, e, identity ? nullptr : t);
  }
  return cancel.cancelled() ? nullptr : product;
}

const float* CodebookUpdate::FitMany(const AdditiveCode& code, const Tile& tile, int steps,
                                     Scratch* scratch, const CancelToken& cancel,
                                     ScaleState* fitted) const {
  float* product = Evaluate(tile, scratch, cancel, fitted);
  if (product == nullptr) return nullptr;
  const int64_t first = tile.first * shape().scale_columns;
  float* scales = fitted->scales.data() + first;
  ManyScales arrays;
  arrays.unscaled = scratch->array(0);
  arrays.error = scratch->array(1);
  arrays.product = product;
  arrays.direction = scratch->array(3);
  if (!problem_.metric->identity()) arrays.direction_product = scratch->array(4);
  if (!problem_.tables) {
    FitManyScales(problem_, tile, steps, arrays, cancel, scales);
  } else {
    arrays.scale_codes = code.scale_codes.data() + first;
    float* tables = fitted->tables.data() + tile.first * problem_.scale_parameters;
    FitManyScales(problem_, tile, steps, arrays, cancel, tables);
    ExpandTables(problem_, tile.count, tables, arrays.scale_codes, scales);
  }
  // The steps moved the error along in F32; from the scales anew, nothing adds up.
  ErrorOf(problem_, tile, arrays.unscaled, scales, cancel, scratch->rows.data(), arrays.error);
  return cancel.cancelled() ? nullptr : product;
}

void CodebookUpdate::FitManyForKeeps(const AdditiveCode& code, const Tile& tile, bool round_to_f16,
                                     Scratch* scratch, const CancelToken& cancel,
                                     ScaleState* fitted) const {
  const int64_t columns = shape().scale_columns, numbers = problem_.scale_parameters;
  std::vector<float>& parameters = problem_.tables ? fitted->tables : fitted->scales;
  const auto own = parameters.begin() + tile.first * numbers;
  float* scales = fitted->scales.data() + tile.first * columns;
  const auto store = [&] {
    if (round_to_f16) std::transform(own, own + tile.count * numbers, own, NearestF16);
    if (!problem_.tables) return;
    ExpandTables(problem_, tile.count, &*own, code.scale_codes.data() + tile.first * columns,
                 scales);
  };
  store();
  if (Evaluate(tile, scratch, cancel, fitted) == nullptr) return;
  const std::vector<float> before(own, own + tile.count * numbers);
  const auto losses = fitted->losses.begin() + tile.first;
  const std::vector<double> losses_before(losses, losses + tile.count);
  if (FitMany(code, tile, kFitSteps, scratch, cancel, fitted) == nullptr) return;
  store();
  if (Evaluate(tile, scratch, cancel, fitted) == nullptr) return;
  for (int64_t i = 0; i < tile.count; ++i) {
    if (losses[i] < losses_before[i]) continue;
    std::copy_n(before.begin() + i * numbers, numbers, own + i * numbers);
    losses[i] = losses_before[i];
  }
  store();
}

}  // namespace quantd
