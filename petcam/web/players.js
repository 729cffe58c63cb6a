"use strict";
// Sliders of the lessons that move in their pages: what petcam's `play_...` do, in the same words.
// It needs explorer.js and convolution.js:
/* global argmax, blank, clip, convolution, fixed, largest, require, unpack */

if (typeof module !== 'undefined') { // in Node
  Object.assign(globalThis, require('./explorer.js'), require('./convolution.js'));
}

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
  const sum = i => (data[4*i] + data[4*i + 1] + data[4*i + 2])/255; // of colours from 0 to 1
  const rows = (h, w, f) =>
    Array.from({length: h}, (_, i) => Array.from({length: w}, (_, j) => f(w*i + j)));
  const [seen] = convolution([rows(height, width, sum)], [[rows(3, 3, i => nine[i])]]);
  return {h: height - 2, w: width - 2, values: Float64Array.from(seen.flat())};
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
  const out = blank(w, h, 0), level = v => 255*clip((v - low)/(high - low || 1), 0, 1);
  values.forEach((v, i) => out.data.fill(level(v), 4*i, 4*i + 3));
  return out;
}

const stretched = map => grey(map, Math.min(...map.values), Math.max(...map.values));

const PLAYERS = {
  kernel({image}, {values}) {
    const nine = values.map(v => v/6), seen = convolve(image, nine);
    const sum = Math.abs(nine.reduce((a, b) => a + b));
    const most = quantile(seen.values.map(Math.abs), .995);
    const low = Math.min(...seen.values), high = Math.max(...seen.values);
    const wall = sum < 1e-6 ? 'a plain wall is grey' : 'brightness shows as well';
    const balanced = (map, limit) => grey(map, limit, -limit); // zero is grey, high is black
    return {
      panels: [
        ['the image', image],
        ['the kernel', balanced({h: 3, w: 3, values: nine}, largest(nine))],
        ['through the kernel', balanced(seen, most)],
      ],
      words: `The kernel adds up to ${fixed(sum, 2)}, so ${wall}. ` +
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
      panels: [
        ['image', image, {size, rows: map.h, columns: map.w}],
        ['channel mean', stretched(map)],
      ],
      words: words[at],
    };
  },

  channels({image, maps, order, where, low, high, count, most}, {values: [at, strongest]}) {
    const k = strongest ? order[at] : at, {h, w} = maps;
    const map = unpack(maps, k), row = Math.floor(where[k]/w), column = where[k] % w;
    return {
      panels: [
        ['image, maximum framed', image, {box: [row/h, column/w, 1/h, 1/w]}],
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

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const element = (tag, attributes = {}, ...children) =>
  filled(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  filled(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
const canvas = (width, height, more = {}) => element('canvas', {width, height, ...more});

// pixels in a figure: at another size, under a grid, with a box around a part of it
function panel([title, pixels, {size, rows, columns, box} = {}]) {
  const height = 440, width = Math.round(height*pixels.width/pixels.height);
  const image = canvas(pixels.width, pixels.height);
  const data = new ImageData(pixels.data, pixels.width, pixels.height);
  image.getContext('2d').putImageData(data, 0, 0);
  const asSeen = size ? canvas(size, size) : image; // by the network
  if (size) {
    const context = asSeen.getContext('2d');
    context.imageSmoothingQuality = 'high';
    context.drawImage(image, 0, 0, size, size);
  }
  const shown = canvas(width, height, {role: 'img', 'aria-label': title});
  const context = shown.getContext('2d');
  context.imageSmoothingEnabled = false;
  context.drawImage(asSeen, 0, 0, width, height);
  context.fillStyle = '#fff';
  for (let i = 1; i < rows; i++) context.fillRect(0, i*height/rows - 1, width, 2);
  for (let i = 1; i < columns; i++) context.fillRect(i*width/columns - 1, 0, 2, height);
  if (box) {
    const [top, left, tall, wide] = box;
    Object.assign(context, {strokeStyle: '#f00', lineWidth: 6});
    context.strokeRect(left*width + 3, top*height + 3, wide*width - 6, tall*height - 6);
  }
  return element('figure', {}, shown, element('figcaption', {}, title));
}

const DASHES = ['2 5', '9 5', 'none'];

// curves over the batches, in a figure
function chart([title, series, {log, names = []}]) {
  const width = 340, height = 190, left = 50, right = width - 10, top = 12, bottom = height - 34;
  const n = series[0].length, all = series.flat(), high = Math.max(...all);
  const low = log || !names.length ? Math.min(...all) : 0;
  const scale = log ? Math.log10 : v => v, span = scale(high) - scale(low) || 1;
  const x = k => left + k/(n - 1)*(right - left);
  const y = v => bottom - (scale(v) - scale(low))/span*(bottom - top);
  const line = i => ({
    stroke: 'currentColor', fill: 'none', 'stroke-width': 2,
    'stroke-dasharray': names.length ? DASHES[i] : 'none',
  });
  const text = (words, at, across, anchor = 'middle') => svg('text', {
    x: at, y: across, 'text-anchor': anchor, 'font-size': 12, fill: 'currentColor'}, words);
  const curve = (values, i) => svg('polyline', {
    ...line(i), points: values.map((v, k) => `${x(k)},${y(v)}`).join(' ')});
  const key = (name, i) => svg('g', {},
    svg('line', {...line(i), x1: left + 97*i, x2: left + 19 + 97*i, y1: 6, y2: 6}),
    text(name, left + 23 + 97*i, 10, 'start'));
  const axes = {stroke: 'currentColor', fill: 'none', d: `M${left} ${top}V${bottom}H${right}`};
  const frame = {viewBox: `0 -6 ${width} ${height + 6}`, role: 'img', 'aria-label': title};
  const drawing = svg('svg', frame,
    svg('path', axes), ...series.map(curve), ...names.map(key),
    text(general(high), left - 5, top + 4, 'end'), text(general(low), left - 5, bottom, 'end'),
    text('0', left, height - 18), text(n - 1, right, height - 18),
    text('batch', (left + right)/2, height - 4));
  return element('figure', {}, drawing, element('figcaption', {}, title));
}

// -> its parts, and a function that reads its value
function slider(id, {name, min, max, step, value, labels, checkbox}) {
  const label = element('label', {for: id}, name);
  if (checkbox) {
    const input = element('input', {id, type: 'checkbox'});
    input.checked = value;
    return {input, parts: [label, element('div', {}, input)], read: () => input.checked};
  }
  const input = element('input', {id, type: 'range', min, max, step});
  input.value = value;
  const output = element('output', {for: id});
  const read = () => {
    const at = +input.value, digits = Number.isInteger(step) ? 0 : 2;
    const said = labels ? labels[at] : fixed(at, digits).replace(/^-(0\.00)$/, '$1');
    output.textContent = said;
    input.setAttribute('aria-valuetext', said);
    return at;
  };
  return {input, parts: [label, element('div', {}, input, output)], read};
}

async function decoded(src) { // -> pixels
  const image = element('img', {src});
  await image.decode();
  const {naturalWidth: width, naturalHeight: height} = image;
  const context = canvas(width, height).getContext('2d');
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
    const {panels = [], charts = []} = drawn;
    el('images').replaceChildren(...panels.map(panel), ...charts.map(chart));
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
