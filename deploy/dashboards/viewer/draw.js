// Panels as elements: lines, one number, a table, bars. `series` is [{name, points: [[time, value]], labels}].
'use strict';

const LEGEND_HEIGHT = 32;

function element(tag, attributes, ...children) {
  const svg = ['svg', 'path', 'line', 'text', 'rect'].includes(tag);
  const node = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// Round steps of an axis from 0 or `low` up to `high`; bytes are round in KiB, MiB, GiB.
function ticks(low, high, count, unit) {
  const raw = (high - low) / count;
  const prefix = unit === 'bytes' ? 1024 ** Math.max(0, Math.floor(Math.log(raw) / Math.log(1024))) : 1;
  const power = prefix * 10 ** Math.floor(Math.log10(raw / prefix));
  const step = [1, 2, 5, 10].find(m => m * power >= raw) * power;
  const found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) found.push(v);
  return found;
}

// Each series on top of those before it: {name, color, points: [[time, bottom, top]]}.
function layers(series, stacked) {
  const heights = new Map();
  return series.map(one => ({...one, points: one.points.filter(p => Number.isFinite(p[1])).map(([t, v]) => {
    const bottom = stacked ? heights.get(t) || 0 : 0;
    heights.set(t, bottom + v);
    return [t, bottom, bottom + v];
  })}));
}

function drawLines(panel, series, range, box) {
  const defaults = panel.fieldConfig.defaults, custom = defaults.custom || {};
  const colored = series.map((one, i) => ({...one,
    color: colorOf(overridesOf(panel, one.name).color?.fixedColor || PALETTE[i % PALETTE.length])}));
  const stacked = layers(colored, custom.stacking?.mode === 'normal');
  const values = stacked.flatMap(one => one.points.flatMap(p => [p[2]]));
  const limits = (defaults.thresholds?.steps || []).filter(step => custom.thresholdsStyle && step.value !== null);
  let low = defaults.min ?? Math.min(...values), high = defaults.max ?? Math.max(...values);
  const near = limits.filter(step => step.value < 2 * high);
  if (defaults.max === undefined) high = Math.max(high, ...near.map(step => step.value)) * 1.05;
  if (!(high > low)) high = low + 1;

  const body = element('div', {class: 'body'});
  const W = box.clientWidth - 22, H = box.clientHeight - 30 - LEGEND_HEIGHT, left = 62, bottom = 16;
  const svg = element('svg', {width: W, height: H});
  const x = t => left + (t - range.from) / (range.to - range.from) * (W - left - 4);
  const y = v => 6 + (1 - (v - low) / (high - low)) * (H - bottom - 6);
  for (const v of ticks(low, high, 4, defaults.unit)) {
    svg.append(element('line', {class: 'grid', x1: left, x2: W, y1: y(v), y2: y(v)}),
      element('text', {x: left - 5, y: y(v) + 3, 'text-anchor': 'end'}, format(v, defaults.unit)));
  }
  const marks = Math.max(2, Math.round(W / 110));
  for (let i = 0; i < marks; i++) {
    const t = range.from + (i + .5) / marks * (range.to - range.from);
    svg.append(element('text', {x: x(t), y: H - 2, 'text-anchor': 'middle'}, clock(t, range)));
  }
  stacked.forEach(one => drawSeries(svg, one, custom, x, y, range.step));
  for (const step of near) {
    svg.append(element('line', {x1: left, x2: W, y1: y(step.value), y2: y(step.value), stroke: colorOf(step.color),
      'stroke-dasharray': '4 4'}));
  }
  const legend = element('div', {class: 'legend'});
  for (const one of colored) {
    const last = one.points.filter(p => Number.isFinite(p[1])).pop();
    legend.append(element('span', {}, element('i', {style: `background:${one.color}`}), one.name + ' ',
      element('b', {}, last ? format(last[1], defaults.unit, defaults.decimals) : '-')));
  }
  body.append(svg, legend);
  return body;
}

function drawSeries(svg, one, custom, x, y, step) {
  if (custom.drawStyle === 'bars') {
    for (const [t, from, to] of one.points) {
      if (to > from) {
        svg.append(element('rect', {x: x(t - step / 2) + .5, width: Math.max(1, x(t) - x(t - step) - 1), y: y(to),
          height: y(from) - y(to), fill: one.color, 'fill-opacity': custom.fillOpacity / 100}));
      }
    }
    return;
  }
  // A gap of more than one step is shown as one.
  const runs = [];
  one.points.forEach((p, i) => {
    if (i === 0 || p[0] - one.points[i - 1][0] > 1.5 * step) runs.push([]);
    runs[runs.length - 1].push(p);
  });
  for (const run of runs) {
    const top = run.map(p => `${x(p[0]).toFixed(1)} ${y(p[2]).toFixed(1)}`).join('L');
    const back = run.map(p => `${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).reverse().join('L');
    if (custom.fillOpacity) {
      svg.append(element('path', {d: `M${top}L${back}Z`, fill: one.color, 'fill-opacity': custom.fillOpacity / 100}));
    }
    svg.append(element('path', {d: `M${top}`, fill: 'none', stroke: one.color, 'stroke-width': 1.4}));
  }
}

function clock(t, range) {
  const text = new Date(t * 1000).toTimeString();
  return range.to - range.from > 1800 ? text.slice(0, 5) : text.slice(0, 8);
}

const lastOf = one => one.points.map(p => p[1]).filter(Number.isFinite).pop();

function drawStat(panel, series) {
  const defaults = panel.fieldConfig.defaults;
  const value = lastOf(series[0]), color = thresholdColor(value, defaults);
  const filled = panel.options.colorMode === 'background';
  return element('div', {class: 'stat', style: filled ? `background:${color};color:#fff` : `color:${color}`},
    format(value, defaults.unit, defaults.decimals));
}

function drawBars(panel, series) {
  const defaults = panel.fieldConfig.defaults;
  const high = defaults.max ?? Math.max(...series.map(lastOf).filter(Number.isFinite));
  const body = element('div', {class: 'bars'});
  for (const one of series) {
    const value = lastOf(one), width = Math.max(0, Math.min(100, 100 * value / high)) || 0;
    body.append(element('span', {title: one.name}, one.name),
      element('div', {}, element('div', {style: `width:${width}%;background:${thresholdColor(value, defaults)}`})),
      element('b', {}, format(value, defaults.unit, defaults.decimals)));
  }
  return body;
}

// One line for each set of labels, one column for each label and each query, as Grafana's "merge" does.
function drawTable(panel, series) {
  const rename = panel.transformations?.find(t => t.id === 'organize')?.options.renameByName || {};
  const many = panel.targets.length > 1;
  const columns = panel.targets.map(t => many ? `Value #${t.refId}` : 'Value').map(name => rename[name] || name);
  const labels = [...new Set(series.flatMap(one => Object.keys(one.labels)))].filter(name => name !== '__name__');
  const lines = new Map();
  for (const one of series) {
    const key = JSON.stringify(labels.map(name => one.labels[name]));
    if (!lines.has(key)) lines.set(key, {...one.labels});
    lines.get(key)[columns[one.query]] = lastOf(one);
  }
  const sort = panel.options.sortBy?.[0];
  const rank = line => line[sort.displayName] ?? (sort.desc ? -Infinity : Infinity);
  const sorted = [...lines.values()];
  if (sort) sorted.sort((a, b) => (rank(b) - rank(a)) * (sort.desc ? 1 : -1));
  const cell = (tag, name, text) => element(tag, columns.includes(name) ? {class: 'number'} : {}, text);
  const defaults = panel.fieldConfig.defaults;
  const show = (line, name) => {
    if (!columns.includes(name)) return line[name] ?? '';
    if (line[name] === undefined) return '';
    const own = overridesOf(panel, name);
    return format(line[name], own.unit || defaults.unit, own.decimals ?? defaults.decimals);
  };
  const names = [...labels, ...columns];
  const head = element('tr', {}, ...names.map(name => cell('th', name, name)));
  const rows = sorted.map(line => element('tr', {}, ...names.map(name => cell('td', name, show(line, name)))));
  return element('div', {class: 'body scroll'},
    element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows)));
}

const DRAW = {timeseries: drawLines, stat: drawStat, table: drawTable, bargauge: drawBars};
