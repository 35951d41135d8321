#include "tests/reference/vector_kmeans_reference.h"

#include <limits>

namespace quantd::reference {
namespace {

double Distance(const float* a, const float* b, int64_t dim) {
  double sum = 0;
  for (int64_t i = 0; i < dim; ++i) {
    sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  }
  return sum;
}

}  // namespace

std::vector<int> Nearest(const Points& points, const std::vector<float>& centers) {
  std::vector<int> nearest(points.count());
  for (int64_t p = 0; p < points.count(); ++p) {
    double best = std::numeric_limits<double>::infinity();
    for (int c = 0; c < static_cast<int>(centers.size() / points.dim); ++c) {
      const double d =
          Distance(&points.values[p * points.dim], &centers[c * points.dim], points.dim);
      if (d < best) {
        best = d;
        nearest[p] = c;
      }
    }
  }
  return nearest;
}

double Objective(const Points& points, const std::vector<float>& centers) {
  const std::vector<int> nearest = Nearest(points, centers);
  double sum = 0;
  for (int64_t p = 0; p < points.count(); ++p) {
    sum += Distance(&points.values[p * points.dim], &centers[nearest[p] * points.dim], points.dim);
  }
  return sum;
}

std::vector<double> Means(const Points& points, const std::vector<float>& centers) {
  const std::vector<int> nearest = Nearest(points, centers);
  std::vector<double> means(centers.begin(), centers.end());
  for (int64_t c = 0; c < static_cast<int64_t>(centers.size()) / points.dim; ++c) {
    std::vector<double> sum(points.dim, 0.0);
    int64_t count = 0;
    for (int64_t p = 0; p < points.count(); ++p) {
      if (nearest[p] != c) continue;
      ++count;
      for (int64_t i = 0; i < points.dim; ++i) sum[i] += points.values[p * points.dim + i];
    }
    for (int64_t i = 0; count > 0 && i < points.dim; ++i) {
      means[c * points.dim + i] = sum[i] / static_cast<double>(count);
    }
  }
  return means;
}

std::vector<double> Decode(const AdditiveShape& shape, const AdditiveCode& code) {
  std::vector<double> w(shape.m * shape.n);
  for (int64_t r = 0; r < shape.m; ++r) {
    for (int64_t k = 0; k < shape.n; ++k) {
      const int64_t i = r / shape.out_group, j = k / shape.in_group;
      double sum = 0;
      for (int64_t m = 0; m < shape.codebooks; ++m) {
        const int64_t entry = code.codes[(i * shape.in_groups() + j) * shape.codebooks + m];
        sum += code.books[((m * shape.entries + entry) * shape.out_group + r % shape.out_group) *
                              shape.in_group +
                          k % shape.in_group];
      }
      const int64_t s = shape.scale_columns == 1 ? i : i * shape.scale_columns + j;
      w[r * shape.n + k] = code.scales[s] * sum;
    }
  }
  return w;
}

double RelativeError(const std::vector<float>& w, const std::vector<double>& decoded) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    error += (w[i] - decoded[i]) * (w[i] - decoded[i]);
    norm += static_cast<double>(w[i]) * w[i];
  }
  return error / norm;
}

double BlockLoss(const AdditiveShape& shape, const AdditiveCode& code, const std::vector<float>& w,
                 const std::vector<float>& blocks) {
  const std::vector<double> decoded = Decode(shape, code);
  const int64_t size = shape.in_group;
  double loss = 0;
  for (int64_t r = 0; r < shape.m; ++r) {
    const int64_t i = r / shape.out_group;
    for (int64_t j = 0; j < shape.in_groups(); ++j) {
      const double s = code.scales[shape.scale_columns == 1 ? i : i * shape.scale_columns + j];
      for (int64_t x = 0; x < size; ++x) {
        for (int64_t y = 0; y < size; ++y) {
          const int64_t u = r * shape.n + j * size + x, v = r * shape.n + j * size + y;
          loss +=
              (w[u] - decoded[u]) / s * blocks[(j * size + x) * size + y] * (w[v] - decoded[v]) / s;
        }
      }
    }
  }
  return loss;
}

}  // namespace quantd::reference
