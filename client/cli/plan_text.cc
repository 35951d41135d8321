// The text of a plan: see quantize_plan.h.
#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "client/cli/quantize_plan.h"
#include "client/cli/spec_text.h"
#include "client/cli/text_table.h"

namespace quantd::cli {
namespace {

constexpr size_t kLeftBehindShown = 10;
constexpr double kWorthSplitting = 600;  // seconds

// "layers.*.mlp.up_proj" for "layers.12.mlp.up_proj": repeated layers share a line.
std::string WithoutNumbers(const std::string& name) {
  std::string pattern;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool digit = absl::ascii_isdigit(name[i]);
    const bool starts = i == 0 || name[i - 1] == '.';
    if (!digit || !starts) {
      pattern += name[i];
      continue;
    }
    size_t end = i;
    while (end < name.size() && absl::ascii_isdigit(name[end])) ++end;
    if (end == name.size() || name[end] == '.') {
      pattern += '*';
    } else {
      pattern += name.substr(i, end - i);
    }
    i = end - 1;
  }
  return pattern;
}

// Rows with a count each, in order of first appearance.
class CountedRows {
 public:
  void Add(std::vector<std::string> cells) {
    auto [it, fresh] = index_.try_emplace(cells, rows_.size());
    if (fresh) rows_.emplace_back(std::move(cells), 0);
    ++rows_[it->second].second;
  }
  void AppendTo(TextTable* table) const {
    for (const auto& [cells, count] : rows_) {
      std::vector<std::string> row = {"  " + cells[0], absl::StrCat(count)};
      row.insert(row.end(), cells.begin() + 1, cells.end());
      table->AddRow(std::move(row));
    }
  }

 private:
  std::map<std::vector<std::string>, size_t> index_;
  std::vector<std::pair<std::vector<std::string>, int>> rows_;
};

std::string FoldText(const QuantizePlan& plan) {
  std::string text;
  const size_t folds = plan.folds.folds.size();
  if (folds > 0) {
    absl::StrAppend(&text, "\ncolumn scales of ", plan.folded_modules(), " layers go into ", folds,
                    folds == 1 ? " norm\n" : " norms\n");
  }
  CountedRows stored;
  for (const auto& [module, why] : plan.folds.stored) stored.Add({WithoutNumbers(module), why});
  if (plan.folds.stored.empty()) return text;
  TextTable table(
      {{"column scale stored beside", true}, {"count"}, {"why no norm takes it", true}});
  stored.AppendTo(&table);
  return absl::StrCat(text, "\n", table.Text());
}

}  // namespace

std::string ServersText(std::vector<double> seconds) {
  const double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  if (total < kWorthSplitting) return "";
  std::sort(seconds.begin(), seconds.end(), std::greater<>());
  std::string text;
  double before = total;
  for (const size_t servers : {4, 16, 64, 256}) {
    // Each request goes to the server that is free first.
    std::vector<double> busy(servers, 0.0);
    for (const double one : seconds) *std::min_element(busy.begin(), busy.end()) += one;
    const double last = *std::max_element(busy.begin(), busy.end());
    if (last >= before) break;
    absl::StrAppend(&text, text.empty() ? "" : ", ", servers, text.empty() ? " such servers " : " ",
                    HumanSeconds(last));
    before = last;
  }
  return text;
}

std::string DescribePlan(const QuantizePlan& plan, const RunEstimate& estimate, bool verbose) {
  CountedRows quantized;
  CountedRows kept;
  int kept_count = 0;
  uint64_t source_bytes = 0;
  for (const TensorChoice& choice : plan.selection.choices) {
    const StoredTensor& stored = *plan.checkpoint.tensors()[choice.tensor].stored;
    const std::string name = verbose ? choice.name : WithoutNumbers(choice.name);
    const std::string shape = absl::StrCat(stored.dtype_name, " ", ShapeString(stored.shape));
    if (choice.quantize) {
      quantized.Add({name, shape, SpecSummary(choice.spec)});
      source_bytes += stored.size();
    } else {
      kept.Add({name, shape, choice.reason});
      ++kept_count;
    }
  }
  TextTable done({{"quantized", true}, {"count"}, {"source", true}, {"as", true}});
  quantized.AppendTo(&done);
  std::string text = done.Text();
  if (kept_count > 0) {
    TextTable rest({{"left as it is", true}, {"count"}, {"source", true}, {"why", true}});
    kept.AppendTo(&rest);
    absl::StrAppend(&text, "\n", rest.Text());
  }
  absl::StrAppend(&text, FoldText(plan));
  if (!plan.left_behind.empty()) {
    const size_t shown =
        verbose ? plan.left_behind.size() : std::min(plan.left_behind.size(), kLeftBehindShown);
    absl::StrAppend(&text, "\nnot copied: ",
                    absl::StrJoin(absl::MakeConstSpan(plan.left_behind).subspan(0, shown), ", "));
    if (shown < plan.left_behind.size()) {
      absl::StrAppend(&text, " and ", plan.left_behind.size() - shown, " more");
    }
    absl::StrAppend(&text, "\n");
  }
  for (const std::string& warning : plan.selection.warnings) {
    absl::StrAppend(&text, "\nwarning: ", warning, "\n");
  }
  absl::StrAppend(
      &text, "\n", plan.selection.quantized(), " of ", plan.selection.choices.size(),
      " tensors in ", plan.groups.size(), " requests; layout ", plan.layout->name(), "; ",
      HumanBytes(source_bytes), " become ", HumanBytes(estimate.result_bytes), "; folder ",
      plan.output->HasLateFiles() ? "at most " : "", HumanBytes(plan.output->TotalBytes()),
      "\npredicted: upload ", HumanBytes(estimate.upload_bytes), ", peak on the server ",
      HumanBytes(estimate.largest_peak_bytes), " of ", HumanBytes(estimate.budget_bytes), ", work ",
      HumanSeconds(estimate.seconds), "\n");
  const std::string servers = ServersText(estimate.group_seconds);
  if (!servers.empty()) absl::StrAppend(&text, "work on ", servers, "\n");
  return text;
}

}  // namespace quantd::cli
