#include "tests/reference/aqlm_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace quantd::reference {
namespace {

// Floats and the two running moments that Adam keeps for each.
struct Parameters {
  std::vector<float> value;
  std::vector<double> gradient, first, second;

  void Reset(std::vector<float> start) {
    value = std::move(start);
    gradient.assign(value.size(), 0.0);
    first = second = gradient;
  }

  void Step(const PaperSettings& s, int64_t step) {
    const double debias1 = 1 - std::pow(s.beta1, static_cast<double>(step));
    const double debias2 = 1 - std::pow(s.beta2, static_cast<double>(step));
    for (size_t i = 0; i < value.size(); ++i) {
      first[i] = s.beta1 * first[i] + (1 - s.beta1) * gradient[i];
      second[i] = s.beta2 * second[i] + (1 - s.beta2) * gradient[i] * gradient[i];
      const double move = first[i] / debias1 / (std::sqrt(second[i] / debias2) + 1e-8);
      value[i] = static_cast<float>(value[i] - s.learning_rate * move);
    }
  }
};

class Loop {
 public:
  Loop(const AqlmCase& layer, const PaperSettings& settings)
      : s_(settings),
        m_(layer.m),
        n_(layer.n),
        g_(settings.in_group),
        groups_(layer.n / settings.in_group),
        entries_(int64_t{1} << settings.codebook_bits),
        w_(layer.w),
        h_(layer.h.begin(), layer.h.end()),
        codes_(layer.m * groups_ * settings.codebooks),
        error_(layer.w.size()),
        product_(layer.w.size()) {
    if (h_.empty()) {
      h_.assign(n_ * n_, 0.0f);
      for (int64_t j = 0; j < n_; ++j) h_[j * n_ + j] = 1;
    }
    error_ = w_;
    energy_ = LossOfError();
  }

  PaperResult Run(const PaperSeeds& seeds) {
    Start(seeds);
    PaperResult result;
    result.start = Loss();
    double best = std::numeric_limits<double>::infinity();
    for (int round = 0; round < s_.rounds; ++round) {
      const double loss = Loss();
      if (loss > best * (1 - s_.tolerance)) break;
      best = loss;
      for (int step = 0; step < s_.adam_steps; ++step) AdamStep();
      result.after_update.push_back(Loss());
      Search((s_.seed << 32) + 2 * (static_cast<uint64_t>(round) + 1));
      result.after_search.push_back(Loss());
    }
    result.error = Loss();
    result.decoded = Decoded();
    return result;
  }

 private:
  float* Entry(int64_t book, int64_t code) {
    return books_.value.data() + (book * entries_ + code) * g_;
  }
  uint16_t* Codes(int64_t row, int64_t group) {
    return codes_.data() + (row * groups_ + group) * s_.codebooks;
  }

  // The patch of row `row` and group `group` without its scale.
  void SumEntries(int64_t row, int64_t group, float* out) {
    std::fill(out, out + g_, 0.0f);
    for (int64_t b = 0; b < s_.codebooks; ++b) {
      const float* entry = Entry(b, Codes(row, group)[b]);
      for (int64_t a = 0; a < g_; ++a) out[a] += entry[a];
    }
  }

  std::vector<float> Decoded() {
    std::vector<float> out(w_.size());
    for (int64_t i = 0; i < m_; ++i) {
      for (int64_t j = 0; j < groups_; ++j) {
        float* patch = out.data() + i * n_ + j * g_;
        SumEntries(i, j, patch);
        for (int64_t a = 0; a < g_; ++a) patch[a] *= scales_.value[i];
      }
    }
    return out;
  }

  // error_ = W - W' and product_ = error_ H.
  void Refresh() {
    const std::vector<float> decoded = Decoded();
    for (size_t i = 0; i < w_.size(); ++i) error_[i] = w_[i] - decoded[i];
    MultiplyError();
  }

  void MultiplyError() {
    std::fill(product_.begin(), product_.end(), 0.0f);
    for (int64_t i = 0; i < m_; ++i) {
      const float* d = error_.data() + i * n_;
      float* out = product_.data() + i * n_;
      int64_t k = 0;
      for (; k + 4 <= n_; k += 4) {  // four rows of H at a time: each sum is loaded less often
        const float *h0 = h_.data() + k * n_, *h1 = h0 + n_, *h2 = h1 + n_, *h3 = h2 + n_;
        const float d0 = d[k], d1 = d[k + 1], d2 = d[k + 2], d3 = d[k + 3];
        for (int64_t j = 0; j < n_; ++j) {
          out[j] += (d0 * h0[j] + d1 * h1[j]) + (d2 * h2[j] + d3 * h3[j]);
        }
      }
      for (; k < n_; ++k) {
        for (int64_t j = 0; j < n_; ++j) out[j] += d[k] * h_[k * n_ + j];
      }
    }
  }

  double LossOfError() {
    MultiplyError();
    double sum = 0;
    for (size_t i = 0; i < error_.size(); ++i) {
      sum += static_cast<double>(error_[i]) * product_[i];
    }
    return sum;
  }

  // tr(D H D^T) / tr(W H W^T), from scratch.
  double Loss() {
    const std::vector<float> decoded = Decoded();
    for (size_t i = 0; i < w_.size(); ++i) error_[i] = w_[i] - decoded[i];
    return LossOfError() / energy_;
  }

  void Start(const PaperSeeds& seeds) {
    std::vector<float> scales(m_), rest = w_;
    for (int64_t i = 0; i < m_; ++i) {
      float* row = rest.data() + i * n_;
      const double norm = std::sqrt(std::inner_product(row, row + n_, row, 0.0));
      scales[i] = static_cast<float>(norm + 1e-9);
      for (int64_t j = 0; j < n_; ++j) row[j] /= scales[i];
    }
    scales_.Reset(std::move(scales));
    const int64_t count = m_ * groups_;
    std::vector<float> books;
    std::vector<uint16_t> nearest(count);
    for (int b = 0; b < s_.codebooks; ++b) {
      std::vector<float> centers = seeds(rest, count, g_, entries_, b);
      Cluster(rest, &centers, &nearest);
      for (int64_t p = 0; p < count; ++p) {
        codes_[p * s_.codebooks + b] = nearest[p];
        for (int64_t a = 0; a < g_; ++a) rest[p * g_ + a] -= centers[nearest[p] * g_ + a];
      }
      books.insert(books.end(), centers.begin(), centers.end());
    }
    books_.Reset(std::move(books));
  }

  // Lloyd's iteration; looks for convergence every tenth time.
  void Cluster(const std::vector<float>& points, std::vector<float>* centers,
               std::vector<uint16_t>* nearest) const {
    const auto count = static_cast<int64_t>(nearest->size());
    std::vector<float> last = *centers;
    for (int i = 0; i < s_.iterations; ++i) {
      Assign(points, *centers, nearest);
      std::vector<double> sums(centers->size());
      std::vector<int64_t> members(entries_);
      for (int64_t p = 0; p < count; ++p) {
        const int64_t c = (*nearest)[p];
        ++members[c];
        for (int64_t a = 0; a < g_; ++a) sums[c * g_ + a] += points[p * g_ + a];
      }
      for (int64_t v = 0; v < entries_ * g_; ++v) {
        const int64_t size = members[v / g_];
        if (size > 0) (*centers)[v] = static_cast<float>(sums[v] / static_cast<double>(size));
      }
      if (i % 10 == 0) {
        bool close = true;
        for (size_t v = 0; v < last.size(); ++v) {
          close &= std::abs((*centers)[v] - last[v]) <= 1e-8 + 1e-6 * std::abs(last[v]);
        }
        if (close && i > 0) break;
      }
      last = *centers;
    }
    Assign(points, *centers, nearest);
  }

  // argmax of x.c - |c|^2 / 2, the entries side by side so that the compiler takes several at once.
  void Assign(const std::vector<float>& points, const std::vector<float>& centers,
              std::vector<uint16_t>* nearest) const {
    std::vector<float> across(centers.size()), half(entries_), score(entries_);
    for (int64_t c = 0; c < entries_; ++c) {
      for (int64_t a = 0; a < g_; ++a) {
        const float x = centers[c * g_ + a];
        across[a * entries_ + c] = x;
        half[c] += x * x / 2;
      }
    }
    for (size_t p = 0; p < nearest->size(); ++p) {
      for (int64_t c = 0; c < entries_; ++c) score[c] = -half[c];
      AddProducts(points.data() + p * g_, across.data(), score.data());
      (*nearest)[p] =
          static_cast<uint16_t>(std::max_element(score.begin(), score.end()) - score.begin());
    }
  }

  // score [entries] += x [g] across [g, entries].
  void AddProducts(const float* x, const float* across, float* score) const {
    for (int64_t a = 0; a < g_; ++a) {
      const float factor = x[a], *row = across + a * entries_;
      for (int64_t c = 0; c < entries_; ++c) score[c] += factor * row[c];
    }
  }

  // L = tr(D H D^T) / m: dL/dC_b[c] = -2/m sum of s_i (D H) over the patches with code c; dL/ds_i =
  // -2/m (D H)_i . r_i with r_i the row without its scale.
  void AdamStep() {
    Refresh();
    std::fill(books_.gradient.begin(), books_.gradient.end(), 0.0);
    std::fill(scales_.gradient.begin(), scales_.gradient.end(), 0.0);
    std::vector<float> patch(g_);
    const double factor = -2.0 / static_cast<double>(m_);
    for (int64_t i = 0; i < m_; ++i) {
      for (int64_t j = 0; j < groups_; ++j) {
        const float* t = product_.data() + i * n_ + j * g_;
        SumEntries(i, j, patch.data());
        for (int64_t a = 0; a < g_; ++a) scales_.gradient[i] += factor * t[a] * patch[a];
        for (int64_t b = 0; b < s_.codebooks; ++b) {
          double* into = books_.gradient.data() + (b * entries_ + Codes(i, j)[b]) * g_;
          for (int64_t a = 0; a < g_; ++a) into[a] += factor * scales_.value[i] * t[a];
        }
      }
    }
    ++steps_;
    books_.Step(s_, steps_);
    scales_.Step(s_, steps_);
  }

  static std::vector<int64_t> Shuffled(int64_t count, CaseRandom* random) {
    std::vector<int64_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    for (int64_t i = count - 1; i > 0; --i) {
      std::swap(order[i], order[random->Bits() % static_cast<uint64_t>(i + 1)]);
    }
    return order;
  }

  // One pass of the beam search, one hypothesis a row.
  void Search(uint64_t seed) {
    Refresh();
    CaseRandom random(seed);
    const std::vector<int64_t> groups = Shuffled(groups_, &random);
    std::vector<std::vector<int64_t>> books;  // of each group
    for (int64_t j = 0; j < groups_; ++j) books.push_back(Shuffled(s_.codebooks, &random));
    for (const int64_t j : groups) {
      std::vector<float> t(m_ * g_);  // (D H) of this group, exact when the group is entered
      for (int64_t i = 0; i < m_; ++i) ProductOfGroup(i, j, t.data() + i * g_);
      for (const int64_t b : books[j]) Visit(j, b, t.data());
    }
  }

  void ProductOfGroup(int64_t row, int64_t group, float* t) const {
    const float* d = error_.data() + row * n_;
    for (int64_t k = 0; k < n_; ++k) {
      const float* h = h_.data() + k * n_ + group * g_;
      for (int64_t a = 0; a < g_; ++a) t[a] += d[k] * h[a];
    }
  }

  // Replacing u = s C_b[old] by v = s C_b[c] changes the row's loss by
  // 2 t.(u - v) + v H_jj v^T - u H_jj u^T with t of the error that holds u again.
  void Visit(int64_t j, int64_t b, float* t) {
    std::vector<float> across(g_ * entries_), square(entries_), score(entries_), move(g_), to(g_);
    for (int64_t c = 0; c < entries_; ++c) {
      for (int64_t a = 0; a < g_; ++a) across[a * entries_ + c] = Entry(b, c)[a];
      square[c] = Quadratic(j, Entry(b, c));
    }
    for (int64_t i = 0; i < m_; ++i) {
      const float scale = scales_.value[i];
      uint16_t& code = Codes(i, j)[b];
      float* ti = t + i * g_;
      for (int64_t a = 0; a < g_; ++a) move[a] = scale * Entry(b, code)[a];
      AddBlock(j, move.data(), ti);  // u comes back into the error
      for (int64_t c = 0; c < entries_; ++c) score[c] = scale * scale * square[c];
      for (int64_t a = 0; a < g_; ++a) to[a] = -2 * scale * ti[a];
      AddProducts(to.data(), across.data(), score.data());
      const int64_t best = std::min_element(score.begin(), score.end()) - score.begin();
      if (score[best] < score[code]) code = static_cast<uint16_t>(best);
      float* error = error_.data() + i * n_ + j * g_;
      for (int64_t a = 0; a < g_; ++a) {
        const float v = scale * Entry(b, code)[a];
        error[a] += move[a] - v;
        move[a] = -v;
      }
      AddBlock(j, move.data(), ti);
    }
  }

  // x H_jj x^T.
  float Quadratic(int64_t group, const float* x) const {
    double sum = 0;
    for (int64_t a = 0; a < g_; ++a) {
      for (int64_t b = 0; b < g_; ++b) {
        sum += static_cast<double>(x[a]) * h_[(group * g_ + a) * n_ + group * g_ + b] * x[b];
      }
    }
    return static_cast<float>(sum);
  }

  // t += x H_jj.
  void AddBlock(int64_t group, const float* x, float* t) const {
    for (int64_t a = 0; a < g_; ++a) {
      const float* h = h_.data() + (group * g_ + a) * n_ + group * g_;
      for (int64_t b = 0; b < g_; ++b) t[b] += x[a] * h[b];
    }
  }

  const PaperSettings& s_;
  const int64_t m_, n_, g_, groups_, entries_;
  const std::vector<float> w_;
  std::vector<float> h_;
  Parameters books_, scales_;
  std::vector<uint16_t> codes_;         // [m, groups, codebooks]
  std::vector<float> error_, product_;  // W - W', (W - W') H
  double energy_ = 0;
  int64_t steps_ = 0;
};

}  // namespace

PaperSeeds RandomSeeds(uint64_t seed) {
  return [seed](const std::vector<float>& points, int64_t count, int64_t dim, int64_t clusters,
                int book) {
    CaseRandom random(seed + static_cast<uint64_t>(book));
    std::vector<int64_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::vector<float> centers;
    for (int64_t c = 0; c < clusters; ++c) {
      std::swap(order[c], order[c + random.Below(count - c)]);
      const float* point = points.data() + order[c] * dim;
      centers.insert(centers.end(), point, point + dim);
    }
    return centers;
  };
}

PaperResult PaperAqlm(const AqlmCase& layer, const PaperSettings& settings,
                      const PaperSeeds& seeds) {
  return Loop(layer, settings).Run(seeds);
}

}  // namespace quantd::reference
