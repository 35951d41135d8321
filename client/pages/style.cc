#include "client/pages/style.h"

namespace quantd::pages {
namespace {

// Blue and orange stay apart for every kind of colour blindness; b0..b6 run over lightness (YlGnBu
// of ColorBrewer), more bits with more contrast to the ground, t0..t6 are the text upon them.
constexpr absl::string_view kStyle = R"(
:root{color-scheme:light dark;
--bg:#fdfdfc;--ink:#1b1d21;--soft:#5a616b;--line:#c9cdd2;--grid:#e7e9eb;
--main:#0a5aa6;--other:#a84a06;--bad:#a3123a;
--b0:#edf8b1;--b1:#c7e9b4;--b2:#7fcdbb;--b3:#41b6c4;--b4:#1d91c0;--b5:#225ea8;--b6:#0c2c84;
--t0:#1b1d21;--t1:#1b1d21;--t2:#1b1d21;--t3:#10161c;--t4:#06090c;--t5:#fff;--t6:#fff}
@media (prefers-color-scheme:dark){:root{
--bg:#141619;--ink:#e8eaed;--soft:#a6aeb8;--line:#444b54;--grid:#272c32;
--main:#79b8f3;--other:#f0a25a;--bad:#ff8fa3;
--b0:#1b3a7d;--b1:#225ea8;--b2:#1a739f;--b3:#3aa6b9;--b4:#7fcdbb;--b5:#c7e9b4;--b6:#f4fbc9;
--t0:#fff;--t1:#fff;--t2:#fff;--t3:#0b1013;--t4:#0b1013;--t5:#0b1013;--t6:#0b1013}}
@media print{:root{color-scheme:light;
--bg:#fff;--ink:#000;--soft:#444;--line:#bbb;--grid:#ddd;
--main:#0a5aa6;--other:#a84a06;--bad:#a3123a;
--b0:#edf8b1;--b1:#c7e9b4;--b2:#7fcdbb;--b3:#41b6c4;--b4:#1d91c0;--b5:#225ea8;--b6:#0c2c84;
--t0:#1b1d21;--t1:#1b1d21;--t2:#1b1d21;--t3:#10161c;--t4:#06090c;--t5:#fff;--t6:#fff}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:1064px;margin:0 auto;padding:56px 32px 96px}
header p,section p{max-width:44em}
.kind{margin:0;color:var(--soft)}
h1{margin:2px 0 0;font-size:30px;line-height:1.2;font-weight:600;letter-spacing:-.01em;
overflow-wrap:anywhere}
h2{margin:0 0 6px;font-size:19px;line-height:1.3;font-weight:600}
h3{margin:28px 0 4px;font-size:15px;font-weight:600}
section{margin-top:64px}
.goal{margin:6px 0 0;color:var(--soft)}
.lead{margin:22px 0 0;font-size:18px;line-height:1.5}
.caption{margin:0 0 14px;color:var(--soft);font-size:13.5px}
.figures{display:flex;flex-wrap:wrap;gap:20px 48px;margin:30px 0 0}
.figures>div{display:flex;flex-direction:column-reverse}
.figures dt{color:var(--soft);font-size:13.5px}
.figures dd{margin:0;font-size:26px;line-height:1.25;font-weight:600}
.beside{display:flex;flex-wrap:wrap;gap:24px 40px;align-items:flex-start}
.beside>div:first-child{flex:none;max-width:100%}
.beside>div:last-child{flex:1 1 300px;min-width:0}
.beside tbody th{min-width:8.5em}
.beside th,.beside td{padding-right:12px}
.beside .name{white-space:normal}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(290px,1fr));gap:18px 24px}
table{border-collapse:collapse;font-size:13.5px;line-height:1.4}
th,td{padding:5px 20px 5px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--grid)}
th:last-child,td:last-child{padding-right:0}
thead th{color:var(--soft);font-weight:500;border-bottom-color:var(--line);white-space:nowrap;
vertical-align:bottom}
tbody th{font-weight:400}
.name,td span{white-space:nowrap}
.narrow+.scroll{margin-top:20px}
.n{text-align:right;white-space:nowrap}
.facts{margin-top:34px}
.facts th{color:var(--soft);min-width:8em;white-space:nowrap}
.facts td{overflow-wrap:anywhere}
.scroll{overflow-x:auto}
details{margin-top:8px}
summary{cursor:pointer;padding:6px 0;color:var(--main)}
.legend{display:flex;flex-wrap:wrap;gap:4px 24px;margin:0 0 14px;padding:0;list-style:none;
font-size:13.5px}
.legend li{display:flex;align-items:center;gap:8px}
.warn{padding-left:14px;border-left:3px solid var(--other)}
svg{display:block;max-width:100%;height:auto;overflow:visible}
svg text{font-size:11px;fill:var(--ink)}
svg .soft{fill:var(--soft)}
svg .strong{font-weight:600}
svg .m{text-anchor:middle}
svg .e{text-anchor:end}
svg .big{font-size:12.5px}
svg .small{font-size:9.5px}
svg.sign{flex:none}
.wide svg,.narrow svg,.panels svg{width:100%}
.narrow{display:none}
.axis{stroke:var(--line);stroke-width:1;fill:none}
.gridline{stroke:var(--grid);stroke-width:1;fill:none}
.band{fill:var(--grid);opacity:.55}
.leader{stroke:var(--soft);stroke-width:.75;fill:none}
.line{stroke:var(--ink);stroke-width:1.5;fill:none;stroke-linejoin:round;stroke-linecap:round}
.now{stroke:var(--main);stroke-width:1;stroke-dasharray:4 3;fill:none}
.hit{fill:transparent}
.before{fill:var(--bg);stroke:var(--soft);stroke-width:1.25}
.ring{stroke:var(--bg);stroke-width:1.25}
.link{stroke-width:1.5;fill:none}
.good{fill:var(--main)}
.poor{fill:var(--other)}
.bad{fill:var(--bad)}
text.good,text.poor,text.bad{font-weight:600}
.link.good,.stroke.good{fill:none;stroke:var(--main)}
.link.poor,.stroke.poor{fill:none;stroke:var(--other)}
.link.bad,.stroke.bad{fill:none;stroke:var(--bad)}
.stroke{stroke-width:1.75;stroke-linecap:round}
.halo{paint-order:stroke;stroke:var(--bg);stroke-width:3px;stroke-linejoin:round}
td .good,td .poor,td .bad,li .good,li .poor,li .bad{font-weight:600}
span.good{color:var(--main)}
span.poor{color:var(--other)}
span.bad{color:var(--bad)}
.b0{fill:var(--b0)}.b1{fill:var(--b1)}.b2{fill:var(--b2)}.b3{fill:var(--b3)}
.b4{fill:var(--b4)}.b5{fill:var(--b5)}.b6{fill:var(--b6)}
svg .t0{fill:var(--t0)}svg .t1{fill:var(--t1)}svg .t2{fill:var(--t2)}svg .t3{fill:var(--t3)}
svg .t4{fill:var(--t4)}svg .t5{fill:var(--t5)}svg .t6{fill:var(--t6)}
.none{fill:none;stroke:var(--line);stroke-width:1}
@media (max-width:859px){
main{padding:28px 16px 64px}
section{margin-top:48px}
h1{font-size:25px}
.lead{font-size:16.5px}
.figures{display:grid;grid-template-columns:1fr 1fr;gap:16px 24px}
.figures dd{font-size:22px}
.wide{display:none}
.narrow{display:block;max-width:440px}
.beside{display:block}
.beside>div:last-child{margin-top:18px}
th,td{padding-right:14px}
.name{white-space:normal;overflow-wrap:break-word}
th .name{display:inline-block;min-width:9.5em}
.scroll td{min-width:7em}
.scroll td.n{min-width:0}
.facts th{white-space:normal}
}
@media print{
body{font-size:10.5pt}
main{max-width:none;padding:0}
section{margin-top:28pt}
h2,.caption,.legend{break-after:avoid;break-inside:avoid}
svg,tr{break-inside:avoid}
.wide{display:block}
.narrow{display:none}
.scroll{overflow:visible}
thead{display:table-header-group}
svg,svg *{print-color-adjust:exact;-webkit-print-color-adjust:exact}
details::details-content{content-visibility:visible;block-size:auto}
}
)";

}  // namespace

absl::string_view StyleSheet() { return kStyle; }

}  // namespace quantd::pages
