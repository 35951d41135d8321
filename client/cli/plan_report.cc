#include "client/cli/plan_report.h"

#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/plan_law.h"
#include "client/cli/text_table.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kPlanReportVersion = 1;
constexpr int kFrontierPoints = 48;  // of the page's curve

std::string Number(double value) { return absl::StrFormat("%.4g", value); }

std::vector<std::string> Row(const std::string& name, const PlanTotals& t) {
  return {name,
          absl::StrFormat("%.4f", t.bits_per_weight),
          HumanBytes(t.bytes),
          ErrorNumber(t.error),
          Number(t.low_share),
          t.block > 0 ? Number(t.block) : "-"};
}

std::string HowChosen(const PlanResult& r) {
  if (r.flags->trials > 0) return absl::StrCat("the best of ", r.flags->trials, " random draws");
  if (r.plan.gap == 0) return "the optimum";
  return absl::StrFormat("within %.2g %% of the optimum", 100 * r.plan.gap);
}

// How many layers and weights got what.
std::string ChosenTable(const PlanResult& r) {
  std::map<int, std::pair<int, uint64_t>> counts;
  for (size_t l = 0; l < r.plan.choice.size(); ++l) {
    auto& [layers, weights] = counts[r.option(l).candidate];
    ++layers;
    weights += r.layer(l).parameters;
  }
  TextTable table({{"chosen", true}, {"layers"}, {"weights"}});
  for (const auto& [candidate, count] : counts) {
    table.AddRow({r.NameOf(candidate), absl::StrCat(count.first), HumanCount(count.second)});
  }
  return table.Text();
}

std::string LayerTable(const PlanResult& r) {
  TextTable table({{"layer", true}, {"chosen", true}, {"bits"}, {"error"}});
  for (size_t l = 0; l < r.plan.choice.size(); ++l) {
    table.AddRow({r.layer(l).name, r.NameOf(r.option(l).candidate),
                  absl::StrFormat("%.3f", BitsOf(r.layer(l), r.option(l))),
                  ErrorNumber(r.option(l).error)});
  }
  return table.Text();
}

Json TotalsToJson(const PlanTotals& t) {
  return {{"bytes", t.bytes},
          {"bits_per_weight", t.bits_per_weight},
          {"error", t.error},
          {"low_share", t.low_share},
          {"block", t.block}};
}

Json LayersToJson(const PlanResult& r) {
  Json layers = Json::array();
  for (size_t l = 0; l < r.plan.choice.size(); ++l) {
    layers.push_back({{"module", r.layer(l).name},
                      {"parameters", r.layer(l).parameters},
                      {"sensitivity", r.layer(l).sensitivity},
                      {"chosen", r.NameOf(r.option(l).candidate)},
                      {"bytes", r.option(l).bytes},
                      {"bits_per_weight", BitsOf(r.layer(l), r.option(l))},
                      {"error", r.option(l).error}});
  }
  return layers;
}

void AddLayers(const PlanResult& r, PlanPage* page) {
  const int best = r.best_uniform();
  for (size_t l = 0; l < r.plan.choice.size(); ++l) {
    const LayerOption& option = r.option(l);
    PlanPageLayer& row = page->layers.emplace_back();
    row.name = r.layer(l).name;
    row.parameters = r.layer(l).parameters;
    row.chosen = r.NameOf(option.candidate);
    row.bits = BitsOf(r.layer(l), option);
    row.error = row.uniform_error = option.error;
    for (const LayerOption& other : r.layer(l).options) {
      if (best >= 0 && other.candidate == r.plan.uniform[best].candidate) {
        row.uniform_error = other.error;
      }
    }
  }
}

}  // namespace

int PlanResult::best_uniform() const {
  const int best = plan.best_uniform;
  return best >= 0 && plan.uniform[best].candidate != kDense ? best : -1;
}

std::string PlanResult::NameOf(int candidate) const {
  return candidate == kDense ? "as it is" : problem->problem.candidates[candidate];
}

double BitsOf(const PlanLayer& layer, const LayerOption& option) {
  return 8.0 * static_cast<double>(option.bytes) / static_cast<double>(layer.parameters);
}

std::string PlanText(const PlanResult& r) {
  TextTable table({{"plan for " + r.problem->goal, true},
                   {"bits a weight"},
                   {"bytes"},
                   {"error"},
                   {"Q_r"},
                   {"Q_b"}});
  table.AddRow(Row("this plan", r.plan.totals));
  for (size_t u = 0; u < r.plan.uniform.size(); ++u) {
    const bool best = static_cast<int>(u) == r.best_uniform();
    table.AddRow(Row(absl::StrCat("uniform: ", r.NameOf(r.plan.uniform[u].candidate),
                                  best ? " (the best within)" : ""),
                     r.plan.uniform[u].totals));
  }
  return absl::StrCat(
      table.Text(), "\n", ChosenTable(r), "\n", r.flags->verbose ? LayerTable(r) + "\n" : "",
      "error    the mean of ", r.problem->error_of, ", weighted with parameters",
      r.flags->sensitivity.empty() ? "" : " and sensitivities", "\nchoice   ", HowChosen(r), " of ",
      r.plan.choice.size(), " layers and ", r.problem->problem.candidates.size(),
      r.problem->problem.candidates.size() == 1 ? " candidate" : " candidates", "\nmodel    ",
      HumanBytes(r.model_bytes()), " of tensors, ", HumanBytes(r.input->other_bytes),
      " of them not planned (embeddings, norms ...)\n");
}

Json PlanToJson(const PlanResult& r) {
  Json uniform = Json::array();
  for (const UniformPlan& u : r.plan.uniform) {
    uniform.push_back({{"candidate", r.NameOf(u.candidate)}, {"totals", TotalsToJson(u.totals)}});
  }
  Json json = {{"quantd_plan", kPlanReportVersion},
               {"goal", r.problem->goal},
               {"error_of", r.problem->error_of},
               {"layout", r.input->layout->name()},
               {"plan", TotalsToJson(r.plan.totals)},
               {"uniform", std::move(uniform)},
               {"best_uniform", r.best_uniform()},
               {"model",
                {{"bytes", r.model_bytes()},
                 {"other_bytes", r.input->other_bytes},
                 {"parameters", r.input->parameters()}}},
               {"layers", LayersToJson(r)}};
  if (r.flags->trials > 0) {
    json["random_draws"] = r.flags->trials;
  } else {
    json["bound"] = r.plan.bound;
    json["gap"] = r.plan.gap;
  }
  return json;
}

absl::StatusOr<PlanPage> MakePlanPage(const PlanResult& r) {
  PlanPage page;
  page.title = fs::path(r.flags->model_dir).lexically_normal().filename().string();
  page.goal = r.problem->goal;
  page.error_of = r.problem->error_of;
  page.plan = r.plan.totals;
  page.facts = {
      {"layers planned", HumanCount(r.plan.choice.size())},
      {"candidates", HumanCount(r.problem->problem.candidates.size())},
      {"layout", std::string(r.input->layout->name())},
      {"whole model", absl::StrCat(HumanBytes(r.model_bytes()), " (",
                                   HumanBytes(r.input->checkpoint.TotalBytes()), " before)")},
      {"not planned", absl::StrCat(HumanBytes(r.input->other_bytes), " of ",
                                   HumanCount(r.input->other_parameters), " parameters")},
      {"choice", HowChosen(r)},
  };
  QUANTD_ASSIGN_OR_RETURN(page.frontier, ModelFrontier(r.problem->problem, kFrontierPoints));
  for (const UniformPlan& uniform : r.plan.uniform) {
    page.uniform.push_back({r.NameOf(uniform.candidate), uniform.totals});
  }
  page.best_uniform = r.best_uniform();
  AddLayers(r, &page);
  AddLawCurves(*r.input, *r.flags, *r.law, &page);
  return page;
}

}  // namespace quantd::cli
