// Numbers with their units, and the colours of series and thresholds.
'use strict';

const PALETTE = ['#3274d9', '#e0752d', '#37872d', '#8f3bb8', '#c4162a', '#1f9e9e', '#b08400', '#5f6b7a', '#d44a9b',
  '#705da0'];
const NAMED = {green: '#37872d', orange: '#e0752d', red: '#c4162a', blue: '#3274d9', purple: '#8f3bb8',
  text: 'var(--ink)'};
const colorOf = name => NAMED[name] || name;

function scaled(value, step, names) {
  let i = 0;
  while (Math.abs(value) >= step && i < names.length - 1) { value /= step; i++; }
  return [value, names[i]];
}

function digits(value, decimals) {
  if (decimals === undefined) decimals = value === 0 || Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  if (value !== 0 && Math.abs(value) < 0.001 && decimals > 1) return value.toExponential(1);
  const text = value.toFixed(decimals);
  return decimals > 2 || !text.includes('.') ? text : text.replace(/\.?0+$/, '');
}

function duration(seconds, decimals) {
  const size = Math.abs(seconds);
  if (size === 0) return '0 s';
  if (size < 1e-3) return digits(seconds * 1e6) + ' µs';
  if (size < 1) return digits(seconds * 1e3) + ' ms';
  if (size < 120) return digits(seconds, decimals) + ' s';
  if (size < 7200) return digits(seconds / 60) + ' min';
  if (size < 172800) return digits(seconds / 3600) + ' h';
  return digits(seconds / 86400) + ' d';
}

function format(value, unit, decimals) {
  if (!Number.isFinite(value)) return '-';
  const short = (tail, step = 1000, names = ['', ' K', ' M', ' G', ' T']) => {
    const [v, name] = scaled(value, step, names);
    return digits(v, name === names[0] ? decimals : undefined) + name + tail;
  };
  switch (unit) {
    case 's': return duration(value, decimals);
    case 'percentunit': return digits(value * 100, decimals) + ' %';
    case 'bytes': return short('', 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']);
    case 'Bps': return short('', 1000, [' B/s', ' kB/s', ' MB/s', ' GB/s']);
    case 'ops': case 'reqps': return short('/s');
    case 'dB': return digits(value, decimals) + ' dB';
    case 'short': return short('');
    default: return digits(value, decimals);
  }
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
