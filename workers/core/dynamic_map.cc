#include "workers/core/dynamic_map.h"

#include <algorithm>
#include <cstddef>

namespace quantd {

const std::array<float, 256>& DynamicMap() {
  static const std::array<float, 256> map = [] {
    constexpr float kDecades[] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
    std::array<float, 256> values{};
    size_t at = 0;
    for (int i = 0; i < 7; ++i) {
      const int last = 1 << i;
      const float step = (1.0f - 0.1f) / static_cast<float>(last);
      const auto point = [&](int k) {
        return k < (last + 1) / 2 ? 0.1f + step * static_cast<float>(k)
                                  : 1.0f - step * static_cast<float>(last - k);
      };
      for (int k = 0; k < last; ++k) {
        const float mean = kDecades[i] * ((point(k) + point(k + 1)) / 2.0f);
        values[at++] = mean;
        values[at++] = -mean;
      }
    }
    values[at++] = 0.0f;
    values[at++] = 1.0f;
    std::sort(values.begin(), values.end());
    return values;
  }();
  return map;
}

}  // namespace quantd
