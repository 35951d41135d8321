#include "client/pages/quantize_page.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "client/pages/document.h"
#include "client/pages/format.h"
#include "client/pages/outcome_list.h"
#include "client/pages/pair_chart.h"
#include "client/pages/timings.h"

namespace quantd {
namespace pages {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// What the errors of a page are of.
enum class ErrorOf { kOutputs, kWeights, kBoth };

bool Delivered(const TensorReport& report) { return report.outcome != Outcome::kRejected; }

bool OfOutputs(const TensorReport& report) {
  return report.error.output_relative_error.has_value();
}

ErrorOf ErrorsOf(const QuantizePage& page) {
  bool outputs = false;
  bool weights = false;
  for (const QuantizePageLayer& layer : page.layers) {
    if (Delivered(layer.report)) (OfOutputs(layer.report) ? outputs : weights) = true;
  }
  return !outputs ? ErrorOf::kWeights : weights ? ErrorOf::kBoth : ErrorOf::kOutputs;
}

std::string ErrorWords(ErrorOf of) {
  switch (of) {
    case ErrorOf::kOutputs:
      return "relative error of layer outputs";
    case ErrorOf::kWeights:
      return "relative error of weights";
    case ErrorOf::kBoth:
      break;
  }
  return "relative error of outputs or (w) weights";
}

double ErrorOfLayer(const TensorReport& report) {
  return Delivered(report) ? report.error.relative_error() : kNone;
}

// Of the same kind as the layer's own error; NaN where there is none.
double RtnError(const TensorReport& report) {
  if (!report.rtn_baseline) return kNone;
  return OfOutputs(report) ? report.rtn_baseline->output_relative_error.value_or(kNone)
                           : report.rtn_baseline->weight_relative_error;
}

uint64_t Weights(const TensorReport& report) {
  return report.rows > 0 && report.cols > 0
             ? static_cast<uint64_t>(report.rows) * static_cast<uint64_t>(report.cols)
             : 0;
}

struct Totals {
  uint64_t layers = 0;
  uint64_t weights = 0;
  double bits = kNone;  // of a weight that was delivered
  uint64_t ok = 0;
  uint64_t degraded = 0;
  uint64_t rejected = 0;
};

Totals TotalsOf(const QuantizePage& page) {
  Totals totals;
  double bits = 0;
  double delivered = 0;
  for (const QuantizePageLayer& layer : page.layers) {
    const TensorReport& report = layer.report;
    ++totals.layers;
    totals.weights += Weights(report);
    totals.ok += report.outcome == Outcome::kOk;
    totals.degraded += report.outcome == Outcome::kDegraded;
    totals.rejected += report.outcome == Outcome::kRejected;
    if (!Delivered(report)) continue;
    bits += report.all_in_bits_per_weight * static_cast<double>(Weights(report));
    delivered += static_cast<double>(Weights(report));
  }
  if (delivered > 0) totals.bits = bits / delivered;
  return totals;
}

// Of error / RTN error, over the layers that have both.
std::optional<double> MedianRatio(const QuantizePage& page) {
  std::vector<double> ratios;
  for (const QuantizePageLayer& layer : page.layers) {
    const double ratio = ErrorOfLayer(layer.report) / RtnError(layer.report);
    if (std::isfinite(ratio)) ratios.push_back(ratio);
  }
  if (ratios.empty()) return std::nullopt;
  std::nth_element(ratios.begin(), ratios.begin() + ratios.size() / 2, ratios.end());
  return ratios[ratios.size() / 2];
}

std::string Lead(const QuantizePage& page, const Totals& totals) {
  if (page.layers.empty()) return "No layers were quantized.";
  std::string text = absl::StrCat(
      Counted(totals.layers, "layer"), ", ", Counted(totals.weights, "weight"),
      std::isfinite(totals.bits) ? absl::StrCat(", at ", Number(totals.bits), " bits each, all-in.")
                                 : std::string("."));
  if (totals.rejected > 0) {
    absl::StrAppend(&text, " ", Counted(totals.rejected, "layer"),
                    totals.rejected == 1 ? " was" : " were", " rejected and not delivered.");
  }
  if (totals.degraded > 0) {
    absl::StrAppend(&text, " ", Counted(totals.degraded, "layer"),
                    totals.degraded == 1 ? " is" : " are", " degraded.");
  }
  if (const std::optional<double> ratio = MedianRatio(page)) {
    const std::string change = Change(1, *ratio, {"lower than", "higher than", "high as"});
    absl::StrAppend(&text, " At the median layer the error is ", change,
                    change == "the same" ? " as" : "", " that of plain rounding.");
  }
  return text;
}

std::string Head(const QuantizePage& page) {
  const Totals totals = TotalsOf(page);
  const std::vector<std::pair<std::string, std::string>> figures = {
      {Count(totals.layers), totals.layers == 1 ? "layer" : "layers"},
      {Count(totals.weights), totals.weights == 1 ? "weight" : "weights"},
      {Number(totals.bits), "bits per weight, all-in"},
      {Count(totals.ok), "OK"},
      {Count(totals.degraded), "DEGRADED"},
      {Count(totals.rejected), "REJECTED"}};
  return absl::StrCat("<header>\n<p class=\"kind\">Quantization run</p>\n<h1>", Escape(page.title),
                      "</h1>\n<p class=\"lead\">", Escape(Lead(page, totals)), "</p>\n",
                      Figures(figures), Facts(page.facts), "</header>\n");
}

Pair PairOf(const QuantizePageLayer& layer, ErrorOf of) {
  const TensorReport& report = layer.report;
  Pair pair;
  pair.name = report.name;
  pair.before = RtnError(report);
  pair.after = ErrorOfLayer(report);
  if (!Delivered(report)) {
    pair.before = kNone;
    pair.mark = PairMark::kBad;
    pair.title = absl::StrCat(report.name, ": rejected, ", report.reason);
    return pair;
  }
  if (report.outcome == Outcome::kDegraded) pair.mark = PairMark::kPoor;
  if (of == ErrorOf::kBoth && !OfOutputs(report)) pair.name += " (w)";
  pair.title = absl::StrCat(report.name, ": error ", Number(pair.after), " of ",
                            OfOutputs(report) ? "outputs" : "weights", ", plain rounding ",
                            Number(pair.before));
  return pair;
}

std::string ErrorSection(const QuantizePage& page) {
  const ErrorOf of = ErrorsOf(page);
  std::vector<Pair> pairs;
  pairs.reserve(page.layers.size());
  for (const QuantizePageLayer& layer : page.layers) pairs.push_back(PairOf(layer, of));
  PairWords words;
  words.before = "plain rounding (RTN)";
  words.good = "OK";
  words.poor = "DEGRADED";
  words.bad = "REJECTED: not delivered, no error";
  words.axis = ErrorWords(of);
  std::string caption =
      "In the model's order. The farther to the lower end a point lies from its "
      "circle, the more was gained over plain rounding.";
  if (of == ErrorOf::kWeights) {
    caption += " There were no statistics of the layers' inputs: errors are of the weights.";
  } else if (of == ErrorOf::kBoth) {
    caption +=
        " Layers without statistics show the error of their weights, marked (w): do not "
        "compare it with the errors of outputs.";
  }
  return Section("Error of each layer", absl::StrCat(Caption(caption), PairChart(pairs, words)));
}

std::string SpecWords(const QuantizePageLayer& layer) {
  if (layer.folded_into.empty()) return layer.spec;
  return absl::StrCat(layer.spec, ", column scale folded into ", layer.folded_into);
}

std::string LayerTable(const QuantizePage& page) {
  const bool both = ErrorsOf(page) == ErrorOf::kBoth;
  std::vector<Table::Column> columns = {{"Layer"},         {"Shape", true}, {"Spec"},
                                        {"Bits", true},    {"Error", true}, {"RTN error", true},
                                        {"SQNR dB", true}, {"Outcome"}};
  if (both) columns.insert(columns.begin() + 4, {"Error of"});
  Table table(columns);
  for (const QuantizePageLayer& layer : page.layers) {
    const TensorReport& report = layer.report;
    const bool delivered = Delivered(report);
    std::vector<std::string> cells = {NameCell(report.name),
                                      absl::StrCat(report.rows, " × ", report.cols),
                                      Escape(SpecWords(layer)),
                                      Number(delivered ? report.all_in_bits_per_weight : kNone),
                                      Number(ErrorOfLayer(report)),
                                      Number(delivered ? RtnError(report) : kNone),
                                      Number(delivered ? report.error.sqnr_db : kNone),
                                      OutcomeCell(report.outcome)};
    if (both) {
      cells.insert(cells.begin() + 4, !delivered ? "–" : OfOutputs(report) ? "outputs" : "weights");
    }
    table.AddRow(cells);
  }
  const std::string caption =
      both ? "" : Caption(absl::StrCat("Error: ", ErrorWords(ErrorsOf(page)), "."));
  return Section("Layers", absl::StrCat(caption, table.Foldable("All layers")));
}

}  // namespace
}  // namespace pages

std::string RenderQuantizePage(const QuantizePage& page) {
  std::string body = pages::Head(page);
  if (!page.layers.empty()) {
    absl::StrAppend(&body, pages::ErrorSection(page),
                    pages::Section("Outcomes", pages::OutcomeList(page)));
  }
  if (const std::string timings = pages::Timings(page); !timings.empty()) {
    absl::StrAppend(&body, pages::Section("Time", timings));
  }
  if (!page.layers.empty()) absl::StrAppend(&body, pages::LayerTable(page));
  return pages::Document(absl::StrCat(page.title, ": quantization"), body);
}

}  // namespace quantd
