// Shows a Grafana dashboard of the folder above without Grafana: the same queries, to the Prometheus that serves this
// page.
//   ?dashboard=operator&range=900&VARIABLE=VALUE
// When all panels are drawn, <body data-done data-empty="titles"> says so, for tests and pictures; `empty` are those
// without samples or with an error.
'use strict';

const RANGES = {300: '5 min', 900: '15 min', 3600: '1 h', 21600: '6 h', 86400: '1 d'};
const DEFAULT_RANGE = '900'; // who looks first has just started the server
const REFRESH_SECONDS = 30;
const POINTS = 180;
const RATE_SECONDS = 20; // four scrapes of ../compose/prometheus.yml
const query = new URLSearchParams(location.search);
const grid = document.getElementById('grid');

async function api(path, parameters) {
  const answer = await fetch(`../../api/v1/${path}?${new URLSearchParams(parameters)}`);
  const body = await answer.json();
  if (body.status !== 'success') throw new Error(body.error);
  return body.data;
}

const inQuotes = text => text.replace(/\\/g, '\\\\');
const escapeRegex = text => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

// Values of the dashboard's variables: the address's, else "all" or the first there is.
async function resolveVariables(dashboard) {
  const variables = [];
  for (const one of dashboard.templating.list.filter(v => v.type === 'query')) {
    const [, selector, label] = one.definition.match(/^label_values\((.*), *(\w+)\)$/);
    const values = await api(`label/${label}/values`, {'match[]': substitute(selector, variables, {})});
    const chosen = query.get(one.name) || (one.includeAll ? '' : values[0] || '');
    variables.push({...one, values, chosen});
  }
  return variables;
}

function substitute(expression, variables, builtIn) {
  const text = {...builtIn};
  for (const v of variables) text[v.name] = v.chosen ? inQuotes(escapeRegex(v.chosen)) : v.allValue || '.*';
  return expression.replace(/\$(\w+)/g, (all, name) => text[name] ?? all);
}

function seconds() {
  const range = Number(query.get('range') || DEFAULT_RANGE), step = Math.max(1, Math.round(range / POINTS));
  const to = Math.floor(Date.now() / 1000 / step) * step;
  return {from: to - range, to, step};
}

async function ask(target, number, variables, range) {
  const builtIn = {__rate_interval: `${Math.max(4 * range.step, RATE_SECONDS)}s`, __interval: `${range.step}s`,
    __range: `${range.to - range.from}s`};
  const expression = substitute(target.expr, variables, builtIn);
  const now = Math.floor(Date.now() / 1000);
  const data = target.instant ? await api('query', {query: expression, time: now})
    : await api('query_range', {query: expression, start: range.from, end: range.to, step: range.step});
  return data.result.map(one => ({
    query: number,
    labels: one.metric,
    name: target.legendFormat.replace(/{{ *(\w+) *}}/g, (_, label) => one.metric[label] || ''),
    points: (one.values || [one.value]).map(([t, v]) => [t, Number(v)]),
  }));
}

async function drawPanel(panel, variables, range) {
  const {x, y, w, h} = panel.gridPos;
  const place = `--column:${x + 1}/span ${w};--row:${y + 1}/span ${h};--height:${h}`;
  if (panel.type === 'row') return element('div', {class: 'row', style: place}, panel.title);
  const box = element('section', {class: `panel ${panel.type}`, style: place},
    element('h2', {title: panel.description || ''}, panel.title));
  try {
    const answers = await Promise.all(panel.targets.map((target, i) => ask(target, i, variables, range)));
    const series = answers.flat().filter(one => one.points.some(p => Number.isFinite(p[1])));
    // Lines need the size that the box has on the page.
    box.paint = () => box.append(series.length ? DRAW[panel.type](panel, series, range, box) : withoutSamples(panel));
  } catch (error) {
    box.append(failed(panel.title, error));
  }
  return box;
}

function withoutSamples(panel) {
  const expected = panel.fieldConfig.defaults.noValue;
  if (expected) return element('div', {class: 'figure'}, expected);
  return element('div', {class: 'empty', 'data-title': panel.title}, 'no samples yet');
}

const failed = (title, error) => element('div', {class: 'empty failed', 'data-title': title}, error.message);

function control(label, name, values, chosen) {
  const select = element('select', {}, ...values.map(([value, text]) =>
    element('option', value === chosen ? {value, selected: ''} : {value}, text)));
  select.onchange = () => { query.set(name, select.value); location.search = query; };
  return element('label', {}, label + ' ', select);
}

function drawControls(name, variables) {
  document.getElementById('controls').replaceChildren(
    control('Dashboard', 'dashboard', [['operator', 'operator'], ['pipeline', 'pipeline']], name),
    ...variables.map(v => control(v.label, v.name,
      [...(v.includeAll ? [['', 'All']] : []), ...v.values.map(value => [value, value])], v.chosen)),
    control('Last', 'range', Object.entries(RANGES), query.get('range') || DEFAULT_RANGE));
}

async function draw() {
  const name = query.get('dashboard') === 'pipeline' ? 'pipeline' : 'operator';
  const dashboard = await (await fetch(`../${name}.json`)).json();
  document.title = document.getElementById('title').textContent = dashboard.title;
  const variables = await resolveVariables(dashboard), range = seconds();
  drawControls(name, variables);
  const boxes = await Promise.all(dashboard.panels.map(panel => drawPanel(panel, variables, range)));
  grid.replaceChildren(...boxes);
  boxes.forEach(box => box.paint?.());
  document.body.dataset.empty = JSON.stringify([...grid.querySelectorAll('.empty')].map(e => e.dataset.title));
  document.body.dataset.done = dashboard.panels.length;
}

function show() {
  const fail = error => grid.replaceChildren(failed('page', error));
  draw().catch(fail).finally(() => setTimeout(show, REFRESH_SECONDS * 1000));
}

show();
