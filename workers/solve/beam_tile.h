// A tile of out groups on its way through one pass of beam search.
//
// In groups are renamed by the order of visits: "position" p is in group patch_order[p]. Positions
// are walked in blocks of at most kBeamColumns columns. With D the error of the codes in `codes`,
// T = D H[:, block] is one product, made when the block is entered; inside the block T follows each
// change at once. So one product serves all codebooks. A block's changes enter D together when the
// block is committed.
//
// With one hypothesis a block is committed when it ends. With more, its hypotheses go on into the
// next block, so that it is committed when that one ends.
#pragma once

#include <cstdint>

#include "workers/core/cancel.h"
#include "workers/levels/additive.h"
#include "workers/linalg/entry_scan.h"
#include "workers/solve/beam_scratch.h"
#include "workers/solve/metric.h"

namespace quantd {

// What is the same for all tiles of a pass.
struct BeamPlan {
  const AdditiveShape& shape;
  const Metric& metric;
  const float* books;          // [M, 2^B, patch]
  const float* entries_t;      // [M, patch, 2^B]
  const int32_t* patch_order;  // [in_groups]
  const int32_t* book_order;   // [in_groups, M]
  int beam;
  const EntryScanKernels& scan;
};

// BeamPass::Run()'s arguments.
struct BeamTask {
  const float* w;
  const float* scales;
  const uint8_t* free;
  int64_t count;
  uint16_t* codes;
  float* error;
  float* product;
  double* loss;
};

class BeamTile {
 public:
  BeamTile(const BeamPlan& plan, const BeamTask& task, BeamScratch* scratch,
           const CancelToken& cancel);

  void Run();

  // In groups of a block / visits of one.
  static int64_t BlockGroups(const AdditiveShape& shape) { return kBeamColumns / shape.in_group; }
  static int64_t BlockVisits(const AdditiveShape& shape) {
    return BlockGroups(shape) * shape.codebooks;
  }

 private:
  // Positions [first, first + groups).
  struct Block {
    int64_t first;
    int64_t groups;
    int64_t columns;
  };

  Block BlockAt(int64_t first) const;
  int64_t InGroup(int64_t position) const { return plan_.patch_order[position]; }
  bool Free(int64_t group, int64_t in_group) const {
    return task_.free == nullptr || task_.free[group * shape_.in_groups() + in_group] != 0;
  }
  float Scale(int64_t group, int64_t in_group) const {
    return task_.scales[group * shape_.scale_columns + (shape_.scale_columns > 1 ? in_group : 0)];
  }
  uint16_t* Codes(int64_t group, int64_t in_group) const {
    return task_.codes + (group * shape_.in_groups() + in_group) * shape_.codebooks;
  }
  uint16_t* Chosen(int64_t group) const { return s_.chosen.data() + group * visits_; }
  bool stopped() const { return cancel_.cancelled(); }

  void SetError(int64_t group);
  // H of positions `rows` with positions `columns`, into out [.., kBeamStride].
  void GatherMetric(const Block& rows, const Block& columns, float* out) const;
  // D H[:, block] into base_[0]; what was there goes to base_[1], and H of the block likewise.
  void EnterBlock(const Block& block);

  // Puts Chosen() into codes and D. `next`: the block that has been entered since, whose T follows;
  // null: none.
  void Commit(const Block& block, const Block* next);
  bool CommitGroup(const Block& block, int64_t group);
  double StepTimes(const float* t, const Block& block, int64_t group) const;

  void Finish();

  // beam_single.cc: one hypothesis. Chosen() is the input and the result.
  void SearchSingle(const Block& block);
  void VisitSingle(const Block& block, int64_t at, int64_t book);
  template <int kIn>
  void PrepareTargets(const Block& block, int64_t at, int64_t book);
  void SpreadSingle(const Block& block, int64_t at);

  // beam_hypotheses.cc: more of them. Chosen() becomes the codes of the block before.
  void SearchHypotheses(const Block& block, const Block* before);
  void LoadHypotheses(const Block& block, const Block* before);
  void SetEnergies(const Block& block);
  // Searches the block for one out group whose hypotheses' T start at `t`.
  void SearchGroup(const Block& block, int64_t group, float* t);
  void VisitGroup(const Block& block, int64_t group, int64_t at, int64_t book, const float* t);
  double LossCap(const float* entries_t, const float* energy, float squared, double own) const;
  int64_t CollectCandidates(int64_t visit, int64_t book, int32_t code, float squared);
  void KeepBest(int64_t visit, int64_t group, int64_t in_group, int64_t book);
  float* SpreadGroup(const Block& block, int64_t at, float* t);
  void EndGroup(int64_t group, bool has_before);
  void CarrySteps(const Block& block);
  void ChooseBest();

  const BeamPlan& plan_;
  const AdditiveShape& shape_;
  const BeamTask& task_;
  BeamScratch& s_;
  const CancelToken& cancel_;
  const int64_t rows_;
  const int64_t n_;
  const int64_t visits_;    // of a block
  const bool lagging_;      // blocks are committed one block late
  int64_t hypotheses_ = 0;  // of the out group at hand
  bool crowded_ = true;     // the visit before had many candidates
  int side_ = 0;            // which of the pairs in the scratch holds them
};

// Rows that a tile should have.
int64_t BeamTileRows(const AdditiveShape& shape, int beam);

}  // namespace quantd
