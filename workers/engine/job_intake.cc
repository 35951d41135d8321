#include "workers/engine/job_intake.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/engine/given_code.h"
#include "workers/methods/check.h"

namespace quantd {

bool JobIntake::StaysRaw(Role role) {
  return role == Role::kWeight || role == Role::kFisher || role == Role::kGradient ||
         role == Role::kCodes || role == Role::kCheckpoint;
}

absl::Status JobIntake::Begin() {
  raw_.resize(tensors_.size());
  floats_.resize(tensors_.size());
  for (int i = 0; i < static_cast<int>(tensors_.size()); ++i) {
    const TensorDecl& t = tensors_[i];
    if (i == shape_.statistics) {
      QUANTD_ASSIGN_OR_RETURN(statistics_, HessianIntake::Create(t, shape_.n));
      if (t.role == Role::kActivations && shape_.channels) {
        statistics_->CollectChannels();
      }
    } else if (StaysRaw(t.role)) {
      QUANTD_ASSIGN_OR_RETURN(const uint64_t bytes, CheckedBytes(t.shape, t.dtype, t.name));
      QUANTD_ASSIGN_OR_RETURN(raw_[i], Buffer::AllocateUnfilled(bytes));
    } else {
      QUANTD_ASSIGN_OR_RETURN(floats_[i], FloatIntake::Create(t));
    }
  }
  return absl::OkStatus();
}

absl::Status JobIntake::Write(int index, uint64_t offset, absl::Span<const std::byte> bytes,
                              Executor& executor, const CancelToken& cancel) {
  if (index != shape_.statistics) {
    if (floats_[index] != nullptr) return floats_[index]->Add(bytes);
    std::memcpy(raw_[index].data() + offset, bytes.data(), bytes.size());
    return absl::OkStatus();
  }
  if (shape_.token_weight >= 0 && !activations_begun_) {
    FloatIntake& weights = *floats_[shape_.token_weight];
    const std::string& name = tensors_[shape_.token_weight].name;
    if (!weights.complete()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", name, "': TOKEN_WEIGHT must be sent before the ACTIVATIONS '",
                       tensors_[index].name, "' that it weighs"));
    }
    QUANTD_RETURN_IF_ERROR(statistics_->SetTokenWeights(
        std::vector<float>(weights.values().begin(), weights.values().end()), name));
  }
  activations_begun_ = true;
  return statistics_->Add(bytes, executor, cancel);
}

WeightView JobIntake::ViewOf(int index) const {
  if (index < 0) return {};
  const TensorDecl& t = tensors_[index];
  return {t.dtype, raw_[index].data(), t.shape[0], t.shape[1]};
}

absl::string_view JobIntake::checkpoint() const {
  if (shape_.checkpoint < 0) return {};
  const Buffer& bytes = raw_[shape_.checkpoint];
  return {reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(bytes.size())};
}

absl::StatusOr<std::unique_ptr<AdditiveCode>> JobIntake::TakeGiven(size_t w, Executor& executor,
                                                                   const CancelToken& cancel) {
  if (shape_.codebooks[w] < 0) return nullptr;
  auto given = std::make_unique<AdditiveCode>();
  const auto take = [&](int index, std::vector<float>* out) {
    const absl::Span<const float> values = floats_[index]->values();
    absl::Status status = CheckStorableF16(tensors_[index], values);
    out->assign(values.begin(), values.end());
    floats_[index].reset();
    return status;
  };
  QUANTD_RETURN_IF_ERROR(take(shape_.codebooks[w], &given->books));
  QUANTD_RETURN_IF_ERROR(take(shape_.scales[w], &given->scales));
  const TensorDecl& weight = tensors_[shape_.weights[w]];
  const AdditiveShape shape = AdditiveShape::Of(spec_, weight.shape[0], weight.shape[1]);
  if (static_cast<int64_t>(given->scales.size()) < shape.out_groups() * shape.scale_columns) {
    // One scale an out group serves all of its patches.
    std::vector<float> each;
    each.reserve(shape.out_groups() * shape.scale_columns);
    for (const float s : given->scales) each.insert(each.end(), shape.scale_columns, s);
    given->scales = std::move(each);
  }
  if (const int codes = shape_.codes[w]; codes >= 0) {
    QUANTD_RETURN_IF_ERROR(ReadCodes(tensors_[codes],
                                     {raw_[codes].data(), static_cast<size_t>(raw_[codes].size())},
                                     spec_.levels.codebook_bits, executor, cancel, &given->codes));
    raw_[codes] = Buffer();
  }
  return given;
}

absl::Status JobIntake::CheckImportance(int index, Executor& executor,
                                        const CancelToken& cancel) const {
  if (index < 0) return absl::OkStatus();
  const WeightView view = ViewOf(index);
  const bool negative = tensors_[index].role == Role::kGradient;
  constexpr int64_t kRows = 64;
  std::vector<int64_t> bad(CeilDiv(view.m, kRows), -1);
  executor.ParallelFor(static_cast<int64_t>(bad.size()), [&](int64_t s) {
    if (cancel.cancelled()) return;
    const int64_t row = s * kRows, rows = std::min(kRows, view.m - row);
    std::vector<float> values(rows * view.n);
    view.ReadRows(row, rows, values.data());
    for (int64_t i = 0; i < rows * view.n && bad[s] < 0; ++i) {
      if (!std::isfinite(values[i]) || (!negative && values[i] < 0)) bad[s] = row * view.n + i;
    }
  });
  QUANTD_RETURN_IF_ERROR(cancel.Check());
  for (const int64_t at : bad) {
    if (at < 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", tensors_[index].name, "': value at [", at / view.n, ", ",
                     at % view.n, negative ? "] is not finite" : "] is negative or not finite"));
  }
  return absl::OkStatus();
}

absl::StatusOr<GroupInputs> JobIntake::Finish(Executor& executor, const CancelToken& cancel) {
  GroupInputs inputs;
  inputs.n = shape_.n;
  if (statistics_ != nullptr) {
    tokens_ = statistics_->tokens();
    QUANTD_ASSIGN_OR_RETURN(Hessian h, statistics_->Finish(executor, cancel));
    hessian_ = std::make_unique<Hessian>(std::move(h));
    inputs.hessian = hessian_.get();
    ChannelStatistics channels = statistics_->channels();
    inputs.abs_mean = std::move(channels.mean_abs);
    inputs.abs_max = std::move(channels.abs_max);
    statistics_.reset();
  }
  const auto take = [&](int index, bool negative, std::vector<float>* out) -> absl::Status {
    if (index < 0) return absl::OkStatus();
    QUANTD_RETURN_IF_ERROR(floats_[index]->Check(negative));
    const absl::Span<float> values = floats_[index]->values();
    out->assign(values.begin(), values.end());
    return absl::OkStatus();
  };
  QUANTD_RETURN_IF_ERROR(take(shape_.abs_mean, false, &inputs.abs_mean));
  QUANTD_RETURN_IF_ERROR(take(shape_.abs_max, false, &inputs.abs_max));
  std::vector<float> signs;
  QUANTD_RETURN_IF_ERROR(take(shape_.rotation_signs, true, &signs));
  for (size_t j = 0; j < signs.size(); ++j) {
    if (std::abs(signs[j]) != 1.0f) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", tensors_[shape_.rotation_signs].name, "': value ", signs[j],
                       " at index ", j, " is not +1 or -1"));
    }
    inputs.rotation_signs.push_back(static_cast<int8_t>(signs[j]));
  }
  if (shape_.cross_moment >= 0) {
    QUANTD_RETURN_IF_ERROR(floats_[shape_.cross_moment]->Check(true));
    inputs.cross_moment = floats_[shape_.cross_moment]->buffer();
  }
  for (size_t w = 0; w < shape_.weights.size(); ++w) {
    QUANTD_RETURN_IF_ERROR(CheckImportance(shape_.fisher[w], executor, cancel));
    QUANTD_RETURN_IF_ERROR(CheckImportance(shape_.gradient[w], executor, cancel));
    QUANTD_ASSIGN_OR_RETURN(std::unique_ptr<AdditiveCode> given, TakeGiven(w, executor, cancel));
    given_.push_back(std::move(given));
    inputs.weights.push_back({.weight = ViewOf(shape_.weights[w]),
                              .fisher = ViewOf(shape_.fisher[w]),
                              .gradient = ViewOf(shape_.gradient[w]),
                              .given = given_.back().get()});
  }
  return inputs;
}

void JobIntake::Release(int w) {
  raw_[shape_.weights[w]] = Buffer();
  if (shape_.fisher[w] >= 0) raw_[shape_.fisher[w]] = Buffer();
  if (shape_.gradient[w] >= 0) raw_[shape_.gradient[w]] = Buffer();
  given_[w].reset();
}

}  // namespace quantd
