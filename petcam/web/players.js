"use strict";
// Sliders of the lessons that move in their pages. Each does what petcam's `play_...` does, in the same words.
// It needs explorer.js:
/* global argmax, blank, clip, fixed, largest, require, unpack */

if (typeof module !== 'undefined') Object.assign(globalThis, require('./explorer.js')); // in Node

// ---------- numbers ----------

function general(v) { // two digits, as Python's `.2g` writes them
  if (v === 0) return '0';
  const [mantissa, exponent] = v.toExponential(1).split('e');
  const power = +exponent;
  if (power >= -4 && power < 2) return String(+v.toPrecision(2));
  return `${+mantissa}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
}

function quantile(values, q) { // between two values linearly
  const sorted = Float64Array.from(values).sort(), at = q*(sorted.length - 1);
  const below = Math.floor(at), above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below])*(at - below);
}

// the same nine numbers slide over all three colours -> {h, w, values}
function convolve({width, height, data}, nine) {
  const sums = new Float64Array(width*height); // the three colours, each from 0 to 1
  for (let i = 0; i < sums.length; i++) sums[i] = (data[4*i] + data[4*i + 1] + data[4*i + 2])/255;
  const h = height - 2, w = width - 2, values = new Float64Array(h*w);
  for (let row = 0; row < h; row++) {
    for (let column = 0; column < w; column++) {
      let sum = 0;
      for (let i = 0; i < 9; i++) {
        sum += nine[i]*sums[(row + Math.floor(i/3))*width + column + i % 3];
      }
      values[row*w + column] = sum;
    }
  }
  return {h, w, values};
}

// rates and momenta of `n` batches, as `petcam.onecycle.one_cycle`
function oneCycle(n, highest, divide, start) {
  const top = Math.floor(n*start), rise = Math.max(top, 1), fall = Math.max(n - top, 1);
  const cosine = (from, to, u) => to + (from - to)/2*(1 + Math.cos(Math.PI*u));
  const shape = (first, peak, last) => Array.from({length: n}, (_, k) =>
    k <= rise ? cosine(first, peak, k/rise) : cosine(peak, last, (k - rise)/fall));
  const rates = highest.map(lr => shape(lr/divide, lr, lr/divide/1e4));
  return {rates, momenta: shape(.95, .85, .95)};
}

// ---------- what each draws: panels, and words ----------

function grey({h, w, values}, low, high) { // -> pixels, `low` black and `high` white
  const out = blank(w, h, 0);
  values.forEach((v, i) => out.data.fill(255*clip((v - low)/(high - low || 1), 0, 1), 4*i, 4*i + 3));
  return out;
}

const stretched = map => grey(map, Math.min(...map.values), Math.max(...map.values));

const PLAYERS = {
  kernel({image}, {values}) {
    const nine = values.map(v => v/6), seen = convolve(image, nine);
    const sum = Math.abs(nine.reduce((a, b) => a + b));
    const most = quantile(seen.values.map(Math.abs), .995);
    const low = Math.min(...seen.values), high = Math.max(...seen.values);
    const balanced = (map, limit) => grey(map, limit, -limit); // zero is grey, high is black
    return {
      panels: [
        ['the image', image],
        ['the kernel', balanced({h: 3, w: 3, values: nine}, largest(nine))],
        ['through the kernel', balanced(seen, most)],
      ],
      words: `The kernel adds up to ${fixed(sum, 2)}, so ` +
        (sum < 1e-6 ? 'a plain wall is grey. ' : 'brightness shows as well. ') +
        `Outputs from ${fixed(low, 2)} to ${fixed(high, 2)}.`,
    };
  },

  schedule({n, highest, divide}, {values: [start, divided, rates, log]}) {
    const cycle = oneCycle(n, highest[rates], divide[divided], start), head = cycle.rates[2];
    return {
      charts: [
        ['learning rates', cycle.rates, {log, names: ['early body', 'late body', 'head']}],
        ['momentum', [cycle.momenta], {}],
      ],
      words: `The head starts at ${general(head[0])}, is fastest at batch ${argmax(head)} ` +
        `with ${general(Math.max(...head))}, and ends at ${general(head[n - 1])}.`,
    };
  },

  sizes({image, sizes, maps, words}, {values: [at]}) {
    const map = unpack(maps[at], 0), size = sizes[at];
    return {
      panels: [['image', image, {size, rows: map.h, columns: map.w}], ['channel mean', stretched(map)]],
      words: words[at],
    };
  },

  channels({image, maps, order, where, low, high, count, most}, {values: [at, strongest]}) {
    const k = strongest ? order[at] : at, {h, w} = maps;
    const map = unpack(maps, k), row = Math.floor(where[k]/w), column = where[k] % w;
    return {
      panels: [
        ['maximum at', image, {box: [row/h, column/w, 1/h, 1/w]}],
        [`channel ${k}`, stretched(map)],
        [`the ${most} highest maxima`, stretched({h, w, values: count})],
      ],
      words: `Channel ${k} of ${order.length}: from ${low[k]} to ${high[k]}, ` +
        `highest in row ${row + 1} of ${h}, column ${column + 1} of ${w}. ` +
        `The ${most} highest maxima lie in ${count.filter(v => v > 0).length} of ${h*w} locations.`,
    };
  },
};

// ---------- the page ----------

function element(tag, more = {}, ...children) {
  const {svg, ...attributes} = more;
  const made = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function panel([title, pixels, {size, rows, columns, box} = {}]) {
  const canvas = element('canvas', {role: 'img', 'aria-label': title});
  const context = canvas.getContext('2d'), side = 440;
  const wide = Math.round(side*pixels.width/pixels.height);
  Object.assign(canvas, {width: wide, height: side});
  const source = element('canvas');
  Object.assign(source, {width: pixels.width, height: pixels.height});
  source.getContext('2d').putImageData(new ImageData(pixels.data, pixels.width, pixels.height), 0, 0);
  let shown = source;
  if (size) { // as the network gets it
    shown = element('canvas');
    Object.assign(shown, {width: size, height: size});
    Object.assign(shown.getContext('2d'), {imageSmoothingQuality: 'high'}).drawImage(source, 0, 0, size, size);
  }
  context.imageSmoothingEnabled = false;
  context.drawImage(shown, 0, 0, wide, side);
  context.fillStyle = '#fff';
  for (let i = 1; i < rows; i++) context.fillRect(0, i*side/rows - 1, wide, 2);
  for (let i = 1; i < columns; i++) context.fillRect(i*wide/columns - 1, 0, 2, side);
  if (box) {
    const [top, left, height, width] = box;
    Object.assign(context, {strokeStyle: '#f00', lineWidth: 6});
    context.strokeRect(left*wide + 3, top*side + 3, width*wide - 6, height*side - 6);
  }
  return element('figure', {}, canvas, element('figcaption', {}, title));
}

const DASHES = ['2 5', '9 5', 'none'];

function chart([title, series, {log, names = []}]) {
  const scale = log ? Math.log10 : v => v, all = series.flat();
  const low = log || !names.length ? Math.min(...all) : 0;
  const high = Math.max(...all), width = 340, height = 190, left = 50, bottom = 34, top = 12;
  const x = i => left + i/(series[0].length - 1)*(width - left - 10);
  const y = v => height - bottom - (scale(v) - scale(low))/(scale(high) - scale(low) || 1)*(height - bottom - top);
  const svg = (tag, more, ...inside) => element(tag, {svg: true, ...more}, ...inside);
  const ink = {stroke: 'currentColor', fill: 'none'};
  const text = (words, at, across, anchor = 'end') => svg('text', {
    x: at, y: across, 'text-anchor': anchor, 'font-size': 12, fill: 'currentColor'}, words);
  const lines = series.map((values, i) => svg('polyline', {
    ...ink, 'stroke-width': 2, 'stroke-dasharray': names.length ? DASHES[i] : 'none',
    points: values.map((v, k) => `${x(k)},${y(v)}`).join(' ')}));
  const keys = names.flatMap((name, i) => [
    svg('line', {...ink, 'stroke-width': 2, 'stroke-dasharray': DASHES[i], x1: left + 97*i, x2: left + 19 + 97*i, y1: 6, y2: 6}),
    text(name, left + 23 + 97*i, 10, 'start')]);
  const n = series[0].length;
  const made = svg('svg', {viewBox: `0 -6 ${width} ${height + 6}`, role: 'img', 'aria-label': title},
    svg('path', {...ink, d: `M${left} ${top}V${height - bottom}H${width - 10}`}), ...lines, ...keys,
    text(general(high), left - 5, top + 4), text(general(low), left - 5, height - bottom),
    text('0', x(0), height - 18, 'middle'), text(String(n - 1), x(n - 1), height - 18, 'middle'),
    text('batch', x((n - 1)/2), height - 4, 'middle'));
  return element('figure', {}, made, element('figcaption', {}, title));
}

function slider(id, {name, min, max, step, value, labels, checkbox}) { // -> its elements, and what it says
  const input = element('input', checkbox ? {id, type: 'checkbox'} : {id, type: 'range', min, max, step});
  if (checkbox) input.checked = value;
  else input.value = value;
  const output = element('output', {for: id});
  const said = () => labels ? labels[+input.value] : fixed(+input.value, step < 1 ? 2 : 0).replace(/^-(0\.00)$/, '$1');
  const read = () => {
    if (checkbox) return input.checked;
    output.textContent = said();
    input.setAttribute('aria-valuetext', said());
    return +input.value;
  };
  return {input, read, parts: [element('label', {for: id}, name), element('div', {}, input, ...(checkbox ? [] : [output]))]};
}

async function decoded(src) { // -> pixels
  const image = element('img', {src});
  await image.decode();
  const canvas = element('canvas'), {naturalWidth: width, naturalHeight: height} = image;
  Object.assign(canvas, {width, height});
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  return {width, height, data: context.getImageData(0, 0, width, height).data};
}

async function playIn(root) { // the section that templates/player.html makes
  const data = JSON.parse(root.querySelector('[type="application/json"]').textContent);
  const el = name => root.querySelector(`.px-${name}`);
  if (data.image) data.image = await decoded(data.image);
  const sliders = data.sliders.map((o, i) => slider(`${root.id}-${i}`, o));
  const draw = () => {
    const drawn = PLAYERS[data.kind](data, {values: sliders.map(o => o.read())});
    el('images').replaceChildren(...(drawn.panels ?? []).map(panel), ...(drawn.charts ?? []).map(chart));
    el('words').textContent = drawn.words;
  };
  for (const {input} of sliders) input.addEventListener('input', draw);
  el('controls').append(...sliders.flatMap(o => o.parts));
  draw();
  el('still').remove();
  el('app').hidden = false;
}

if (typeof module !== 'undefined') { // in Node, for the tests
  module.exports = {general, quantile, convolve, oneCycle, PLAYERS, playIn};
}
