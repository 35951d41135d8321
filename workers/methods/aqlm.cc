#include "workers/methods/aqlm.h"
#include "workers/methods/rtn.h"

namespace quantd {
namespace {

Spec AqlmSpec() {
  Spec spec = Rtn().defaults();
  spec.method = "aqlm";
  spec.levels.kind = LevelKind::kAdditive;
  spec.levels.codebooks = 2;
  spec.levels.codebook_bits = 8;
  spec.levels.out_group = 1;
  spec.levels.in_group = 8;
  spec.partition.granularity = Granularity::kRow;
  spec.fit.kind = FitKind::kResidualKMeans;
  spec.fit.seeding = Seeding::kPlusPlus;
  // More of either changes errors by less than 1 %, and time a lot: docs/aqlm.md.
  spec.fit.iterations = 25;
  spec.fit.points_per_center = 1024;
  spec.fit.refine_rounds = 3;
  spec.storage.kind = StorageKind::kF16;
  spec.solve.solver = Solver::kBeam;
  spec.solve.beam = 1;
  spec.solve.rounds = 100;
  spec.solve.tolerance = 0.01;
  spec.solve.update = CodebookRule::kConjugateGradients;
  spec.solve.update_steps = 3;
  return spec;
}

constexpr absl::string_view kAqlmFixed[] = {"levels"};

const Method kAqlm = {
    .name = "aqlm",
    .title = "AQLM: patches of weights as sums of codebook entries",
    .paper = "Egiazarian et al. 2024, arXiv 2401.06118",
    .needs =
        "H = X^T X / T as HESSIAN, or X as ACTIVATIONS; without it H = I, which the report notes. "
        "fit=given wants CODEBOOKS and SCALES, and takes CODES",
    .when_not_to_use =
        "at 4 bits and above (gptq comes close in a small part of the time), for small weights "
        "(codebooks count into their bits), or where the kernel knows no codebooks",
    .reading =
        "k-means starts by k-means++, not at random (seeding=random), and is refined through H "
        "(arXiv 2604.08118; refine-rounds=0 is the paper's); codebooks follow codes by "
        "conjugate gradients with scales in closed form, not by Adam (update=adam, its betas "
        "adam=paper or adam=code); the tuning of blocks, which needs their forward pass, is the "
        "caller's, who has codes chosen anew with fit=given",
    .defaults = &AqlmSpec,
    .fixed = kAqlmFixed,
};

}  // namespace

const Method& Aqlm() { return kAqlm; }

}  // namespace quantd
