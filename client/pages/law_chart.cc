#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/pages/chart.h"
#include "client/pages/document.h"
#include "client/pages/format.h"
#include "client/pages/plan_charts.h"

namespace quantd::pages {
namespace {

struct Frame {
  Scale x;
  Scale y;
  Box plot;
};

Frame FrameOf(const PlanPage& page, double width, double height) {
  std::vector<double> shares = {page.plan.low_share};
  std::vector<double> deltas;
  if (page.law_delta && *page.law_delta > 0) deltas.push_back(*page.law_delta);
  for (const LawCurve& curve : page.law_curves) {
    for (const auto& [share, delta] : curve.points) {
      if (!(delta > 0)) continue;  // no height on a logarithmic axis
      shares.push_back(share);
      deltas.push_back(delta);
    }
  }
  const Box plot = {66, 34, width - 78, height - 42};
  return {Scale::Linear(shares, plot.left, plot.right, width > kNarrow ? 6 : 4),
          Scale::Log(deltas, plot.bottom, plot.top + 4, 9), plot};
}

std::vector<Point> CurveLine(const LawCurve& curve, const Frame& frame) {
  std::vector<Point> line;
  for (const auto& [share, delta] : curve.points) {
    if (delta > 0 && frame.x.Has(share) && frame.y.Has(delta)) {
      line.push_back({frame.x.At(share), frame.y.At(delta)});
    }
  }
  return line;
}

void DrawCurves(Svg* svg, const PlanPage& page, const Frame& frame) {
  std::vector<Point> ends;
  std::vector<double> heights;
  std::vector<std::string> labels;
  for (const LawCurve& curve : page.law_curves) {
    const std::vector<Point> line = CurveLine(curve, frame);
    if (line.empty()) continue;
    svg->BeginGroup(absl::StrCat("Q_b = ", Number(curve.block)));
    svg->Polyline(line, "line");
    svg->EndGroup();
    ends.push_back(line.back());
    heights.push_back(line.back().y);
    labels.push_back(absl::StrCat("Q_b ", Number(curve.block)));
  }
  const std::vector<double> placed = SpreadOut(heights, 14, frame.plot.top, frame.plot.bottom - 4);
  for (size_t i = 0; i < ends.size(); ++i) {
    const double x = frame.plot.right + 14;
    svg->Line({ends[i].x + 2, ends[i].y}, {x - 3, placed[i]}, "leader");
    svg->Text({x, placed[i] + 4}, Shorten(labels[i], svg->width() - x, 11), "");
  }
}

void DrawPlan(Svg* svg, const PlanPage& page, const Frame& frame) {
  const double x = frame.x.At(page.plan.low_share);
  svg->BeginGroup(absl::StrCat("this plan: Q_r ", Number(page.plan.low_share), ", Q_b ",
                               Number(page.plan.block),
                               page.law_delta ? ", delta " + Number(*page.law_delta) : ""));
  svg->Line({x, frame.plot.top}, {x, frame.plot.bottom}, "now");
  const bool left = x > (frame.plot.left + frame.plot.right) / 2;
  if (page.law_delta && frame.y.Has(*page.law_delta)) {
    svg->Circle({x, frame.y.At(*page.law_delta)}, 6, "good ring");
  }
  svg->Text({left ? x - 6 : x + 6, frame.plot.bottom - 8}, "this plan", "good halo",
            left ? Anchor::kEnd : Anchor::kStart);
  svg->EndGroup();
}

std::string Draw(const PlanPage& page, double width, double height) {
  const Frame frame = FrameOf(page, width, height);
  Svg svg(width, height,
          absl::StrCat("Rise of the loss by the share of weights in low precision, ",
                       Counted(page.law_curves.size(), "curve"), "."));
  DrawYAxis(&svg, frame.y, frame.plot, "rise of the loss (delta), nats, logarithmic");
  DrawXAxis(&svg, frame.x, frame.plot, "share of weights in low precision (Q_r)");
  DrawCurves(&svg, page, frame);
  DrawPlan(&svg, page, frame);
  return svg.Html();
}

std::string Words(const PlanPage& page) {
  std::vector<std::pair<std::string, std::string>> facts;
  if (!page.law.empty()) facts.emplace_back("Law", page.law);
  if (page.billions > 0) facts.emplace_back("Parameters (N)", Number(page.billions) + " billion");
  facts.emplace_back("Low precision (Q_r)", Percent(page.plan.low_share));
  facts.emplace_back("Weights a scale (Q_b)",
                     page.plan.block > 0 ? Number(page.plan.block) : std::string("–"));
  if (page.law_delta) {
    facts.emplace_back("Rise of the loss", Number(*page.law_delta) + " nats");
    facts.emplace_back("Rise of the perplexity", Percent(std::expm1(*page.law_delta)));
  }
  std::string html = Facts(facts);
  for (const std::string& warning : page.law_warnings) {
    absl::StrAppend(&html, "<p class=\"warn\">", Escape(warning), "</p>\n");
  }
  return html;
}

}  // namespace

std::string LawChart(const PlanPage& page) {
  if (page.law_curves.empty()) return "";
  return absl::StrCat(
      Caption("What the scaling law expects, not what was measured: one curve for each number of "
              "weights that share a scale (Q_b)."),
      Beside(TwoWidths(Draw(page, kHalf, 400), Draw(page, kNarrow, 340)), Words(page)));
}

}  // namespace quantd::pages
