#include "workers/solve/codebook_adam.h"

#include <algorithm>
#include <cmath>

#include "workers/core/status_macros.h"

namespace quantd {
namespace {

constexpr double kEpsilon = 1e-8;
constexpr double kSecondBeta = 0.95;

}  // namespace

AdamMoments::AdamMoments(AdamRule rule, int64_t numbers) : rule_(rule), numbers_(numbers) {
  Clear();
}

void AdamMoments::Clear() {
  first_power_ = second_power_ = 1;
  first_.assign(numbers_, 0.0f);
  second_.assign(numbers_, 0.0f);
  largest_.assign(rule_ == AdamRule::kCode ? numbers_ : 0, 0.0f);
}

void AdamMoments::Step(double rate, double factor, const std::vector<double>& gradient,
                       std::vector<float>* values) {
  const double beta = rule_ == AdamRule::kCode ? 0.0 : 0.9;
  first_power_ *= beta;
  second_power_ *= kSecondBeta;
  const double step = rate / (1 - first_power_);
  const double root = std::sqrt(1 - second_power_);
  for (uint64_t k = 0; k < numbers_; ++k) {
    if (gradient[k] == 0) continue;
    const double g = factor * gradient[k];
    first_[k] = static_cast<float>(beta * first_[k] + (1 - beta) * g);
    second_[k] = static_cast<float>(kSecondBeta * second_[k] + (1 - kSecondBeta) * g * g);
    float second = second_[k];
    if (rule_ == AdamRule::kCode) second = largest_[k] = std::max(largest_[k], second);
    const double size = std::sqrt(static_cast<double>(second)) / root + kEpsilon;
    (*values)[k] = static_cast<float>((*values)[k] - step * first_[k] / size);
  }
}

void AdamMoments::Save(StateWriter* out) const {
  out->Number(first_power_);
  out->Number(second_power_);
  out->Numbers(first_);
  out->Numbers(second_);
  out->Numbers(largest_);
}

absl::Status AdamMoments::Load(StateReader* in) {
  QUANTD_RETURN_IF_ERROR(in->Number(&first_power_));
  QUANTD_RETURN_IF_ERROR(in->Number(&second_power_));
  QUANTD_RETURN_IF_ERROR(in->Numbers(numbers_, &first_));
  QUANTD_RETURN_IF_ERROR(in->Numbers(numbers_, &second_));
  return in->Numbers(rule_ == AdamRule::kCode ? numbers_ : 0, &largest_);
}

uint64_t AdamMoments::Bytes(AdamRule rule, int64_t numbers) {
  return numbers * sizeof(float) * (rule == AdamRule::kCode ? 3 : 2);
}

}  // namespace quantd
