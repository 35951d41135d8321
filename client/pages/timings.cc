#include "client/pages/timings.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/pages/chart.h"
#include "client/pages/document.h"
#include "client/pages/format.h"

namespace quantd::pages {
namespace {

struct Stage {
  std::string name;
  std::string what;
  double seconds = 0;
  int colour = 0;  // b0..b6 of the style sheet
};

double Duration(double seconds) { return std::isfinite(seconds) && seconds > 0 ? seconds : 0; }

// What the stages leave of the total goes to a stage of its own.
std::vector<Stage> StagesOf(const StageSeconds& seconds) {
  std::vector<Stage> stages = {
      {"upload", "first to last chunk of weights and statistics", Duration(seconds.upload), 0},
      {"queue", "waiting for memory and for a worker", Duration(seconds.queue), 1},
      {"prepare", "validation, statistics, shared fits", Duration(seconds.prepare), 2},
      {"solve", "fits, codes, packing", Duration(seconds.solve), 4},
      {"measure", "errors of outputs", Duration(seconds.measure), 5}};
  double sum = 0;
  for (const Stage& stage : stages) sum += stage.seconds;
  const double rest = Duration(seconds.total) - sum;
  if (rest > 0.005 * sum) stages.push_back({"other", "what no stage counts", rest, 6});
  return stages;
}

double Sum(absl::Span<const Stage> stages) {
  return std::accumulate(stages.begin(), stages.end(), 0.0,
                         [](double sum, const Stage& stage) { return sum + stage.seconds; });
}

// One bar; a part that is too narrow for its name has it under the bar, on a line to it.
std::string DrawBar(absl::Span<const Stage> stages, double width) {
  constexpr double kBar = 34;
  constexpr double kNames = 30;
  const double total = Sum(stages);
  Svg svg(width, kBar + kNames, absl::StrCat("Time by stage, ", Seconds(total), " in all."));
  std::vector<double> wanted;
  std::vector<const Stage*> outside;
  double x = 0;
  double widest = 0;
  for (const Stage& stage : stages) {
    const double part = stage.seconds / total * width;
    svg.BeginGroup(absl::StrCat(stage.name, ": ", Seconds(stage.seconds)));
    // The gap to the next part is taken from those that can spare it.
    svg.Rect({x, 0}, part > 4 ? part - 1.5 : part, kBar, absl::StrCat("b", stage.colour));
    const std::string text = absl::StrCat(stage.name, " ", Percent(stage.seconds / total));
    const double text_width = TextWidth(stage.name, 11);
    if (TextWidth(text, 11) + 12 < part) {
      svg.Text({x + part / 2, kBar / 2 + 4}, text, absl::StrCat("t", stage.colour),
               Anchor::kMiddle);
    } else if (stage.seconds > 0) {
      wanted.push_back(x + part / 2);
      outside.push_back(&stage);
      widest = std::max(widest, text_width);
    }
    svg.EndGroup();
    x += part;
  }
  const std::vector<double> placed = SpreadOut(wanted, widest + 10, widest / 2, width - widest / 2);
  for (size_t i = 0; i < outside.size(); ++i) {
    svg.Line({wanted[i], kBar}, {placed[i], kBar + 14}, "leader");
    svg.Text({placed[i], kBar + 26}, outside[i]->name, "soft", Anchor::kMiddle);
  }
  return svg.Html();
}

std::string StageTable(absl::Span<const Stage> stages) {
  const double total = Sum(stages);
  Table table({{"Stage"}, {"Time", true}, {"Share", true}, {"What"}});
  for (const Stage& stage : stages) {
    table.AddRow({stage.name, Seconds(stage.seconds), Share(stage.seconds, total), stage.what});
  }
  return table.Html("Time by stage");
}

std::string Slowest(const QuantizePage& page) {
  constexpr size_t kMost = 10;
  std::vector<const TensorReport*> order;
  double total = 0;
  for (const QuantizePageLayer& layer : page.layers) {
    if (Duration(layer.report.seconds) == 0) continue;
    order.push_back(&layer.report);
    total += layer.report.seconds;
  }
  if (order.empty()) return "";
  std::stable_sort(order.begin(), order.end(), [](const TensorReport* a, const TensorReport* b) {
    return a->seconds > b->seconds;
  });
  order.resize(std::min(order.size(), kMost));
  Table table({{"Layer"}, {"Shape", true}, {"Time", true}, {"Share", true}});
  for (const TensorReport* report : order) {
    table.AddRow({NameCell(report->name), absl::StrCat(report->rows, " × ", report->cols),
                  Seconds(report->seconds), Share(report->seconds, total)});
  }
  return absl::StrCat("<h3>", order.size() == 1 ? "Slowest layer" : "Slowest layers", "</h3>\n",
                      table.Html("Slowest layers"));
}

}  // namespace

std::string Timings(const QuantizePage& page) {
  const std::vector<Stage> stages = StagesOf(page.seconds);
  const double total = Sum(stages);
  std::string html;
  if (total > 0) {
    html = absl::StrCat(Caption("Summed over the requests of the run; requests that ran at the "
                                "same time count each for itself."),
                        TwoWidths(DrawBar(stages, kWide), DrawBar(stages, kNarrow)),
                        StageTable(stages));
  }
  return html + Slowest(page);
}

}  // namespace quantd::pages
