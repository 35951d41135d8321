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

// Round steps of an axis up to `high`, all in one unit: [value, text]. `whole` knows no half ones.
function ticks(low, high, count, unit, whole) {
  const [size, name] = unitFor(high, unit);
  const raw = (high - low) / count / size;
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 5, 10].find(m => m * power >= raw * (1 - 1e-9)) * power;
  if (whole) step = Math.max(step, 1 / size);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let i = Math.ceil(low / size / step - 1e-9); i * step * size <= high + step * size * 1e-9; i++) {
    found.push([i * step * size, Number((i * step).toFixed(decimals)) + name]);
  }
  return found;
}

const CLOCK_STEPS = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600];

// Round times of the range in the browser's time zone: [time, text].
function clockTicks(range, count) {
  const step = CLOCK_STEPS.find(s => s * count >= range.to - range.from) || CLOCK_STEPS.at(-1);
  const zone = new Date(range.to * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let t = Math.ceil((range.from - zone) / step) * step + zone; t <= range.to; t += step) {
    found.push([t, new Date(t * 1000).toTimeString().slice(0, step < 60 ? 8 : 5)]);
  }
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
  const whole = defaults.unit === 'bytes' || defaults.decimals === 0;
  for (const [v, text] of ticks(low, high, 4, defaults.unit, whole)) {
    svg.append(element('line', {class: 'grid', x1: left, x2: W, y1: y(v), y2: y(v)}),
      element('text', {x: left - 5, y: y(v) + 3, 'text-anchor': 'end'}, text));
  }
  for (const [t, text] of clockTicks(range, Math.max(3, Math.round(W / 80)))) {
    // Half of the longest text is 22 wide; none is cut at the right.
    if (x(t) < W - 22) svg.append(element('text', {x: x(t), y: H - 2, 'text-anchor': 'middle'}, text));
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
    // With round ends a single sample is a dot.
    svg.append(element('path', {d: `M${top}h0`, fill: 'none', stroke: one.color, 'stroke-linecap': 'round',
      'stroke-width': run.length > 1 ? 1.4 : 4}));
  }
}

const lastOf = one => one.points.map(p => p[1]).filter(Number.isFinite).pop();

function drawStat(panel, series) {
  const defaults = panel.fieldConfig.defaults;
  const value = lastOf(series[0]), color = thresholdColor(value, defaults);
  const filled = panel.options.colorMode === 'background';
  return element('div', {class: 'figure', style: filled ? `background:${color};color:#fff` : `color:${color}`},
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
