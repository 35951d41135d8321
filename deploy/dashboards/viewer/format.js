// Numbers with their units, and the colours of series and thresholds.
'use strict';

const PALETTE = ['#3274d9', '#e0752d', '#37872d', '#8f3bb8', '#c4162a', '#1f9e9e', '#b08400', '#5f6b7a', '#d44a9b',
  '#705da0'];
const NAMED = {green: '#37872d', orange: '#e0752d', red: '#c4162a', blue: '#3274d9', purple: '#8f3bb8',
  text: 'var(--ink)'};
const colorOf = name => NAMED[name] || name;

// From which size on a duration is written in which unit: [from, seconds, name].
const DURATIONS = [[172800, 86400, ' d'], [7200, 3600, ' h'], [120, 60, ' min'], [1, 1, ' s'], [1e-3, 1e-3, ' ms'],
  [0, 1e-6, ' µs']];
const PER_SECOND = [1000, ['/s', ' K/s', ' M/s', ' G/s']];
const SCALES = {bytes: [1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']], Bps: [1000, [' B/s', ' kB/s', ' MB/s', ' GB/s']],
  ops: PER_SECOND, reqps: PER_SECOND, short: [1000, ['', ' K', ' M', ' G', ' T']]};

// [size, name] of the unit in which a value of that magnitude is written.
function unitFor(value, unit) {
  const magnitude = Math.abs(value);
  if (unit === 'percentunit') return [0.01, ' %'];
  if (unit === 'dB') return [1, ' dB'];
  if (unit === 's') return magnitude ? DURATIONS.find(([from]) => magnitude >= from).slice(1) : [1, ' s'];
  const [step, names] = SCALES[unit] || [1, ['']];
  let i = 0;
  while (i < names.length - 1 && magnitude >= step ** (i + 1)) i++;
  return [step ** i, names[i]];
}

function digits(value, decimals) {
  if (decimals !== undefined) return value.toFixed(decimals);
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
  const text = value.toFixed(value === 0 || Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

// `decimals` are those of the unit itself: 1.25 K of something counted in whole ones.
function format(value, unit, decimals) {
  if (!Number.isFinite(value)) return '-';
  const [size, name] = unitFor(value, unit);
  return digits(value / size, size === 1 || unit === 'percentunit' ? decimals : undefined) + name;
}

// The colour of a value by the panel's thresholds; the first step holds from minus infinity.
function thresholdColor(value, defaults) {
  let color = 'green';
  for (const step of defaults.thresholds?.steps || []) {
    if (step.value === null || value >= step.value) color = step.color;
  }
  return colorOf(color);
}

// What the overrides that match `name` set, by property.
function overridesOf(panel, name) {
  const found = {};
  for (const {matcher, properties} of panel.fieldConfig?.overrides || []) {
    const pattern = matcher.options;
    const hit = matcher.id === 'byName' ? pattern === name : new RegExp(pattern.replace(/^\/|\/$/g, '')).test(name);
    if (hit) for (const {id, value} of properties) found[id] = value;
  }
  return found;
}
