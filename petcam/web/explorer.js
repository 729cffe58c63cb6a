"use strict";
// The explorer of class maps in a page: no kernel, no network, no library.
// First functions of numbers and words, tested against petcam's own (tests/js); then the page.

// ---------- numbers ----------

const clip = (v, low, high) => Math.min(high, Math.max(low, v));
const argmax = values => values.indexOf(Math.max(...values));
const largest = values => values.reduce((top, v) => Math.max(top, Math.abs(v)), 0);
const bytes = base64 => Uint8Array.from(atob(base64), c => c.charCodeAt(0));

function probabilities(logits, activation) { // with 'none' the scores themselves
  if (activation === 'none') return [...logits];
  if (activation === 'sigmoid') return logits.map(v => 1/(1 + Math.exp(-v)));
  const top = Math.max(...logits);
  const e = logits.map(v => Math.exp(v - top));
  const sum = e.reduce((a, b) => a + b);
  return e.map(v => v/sum);
}

function rankOf(logits, target) { // 1: the class that the model predicts
  return 1 + logits.filter(v => v > logits[target]).length;
}

function unpack(packed, target) { // -> {h, w, values}, the map of class `target`, or the only one
  packed.bytes = packed.bytes || bytes(packed.maps);
  const k = target % packed.lo.length, n = packed.h*packed.w;
  const lo = packed.lo[k], step = (packed.hi[k] - lo)/255;
  const values = Float32Array.from(packed.bytes.subarray(k*n, (k + 1)*n), q => lo + step*q);
  return {h: packed.h, w: packed.w, values};
}

// for each of `size` pixels: the two locations that it lies between, and how far
function neighbours(n, size) {
  return Array.from({length: size}, (_, i) => {
    const at = Math.max(0, (i + .5)*n/size - .5), first = Math.floor(at);
    return [first, Math.min(first + 1, n - 1), at - first];
  });
}

function upsample({h, w, values}, height, width) { // bilinear, as torch with align_corners=False
  const rows = neighbours(h, height), columns = neighbours(w, width);
  const out = new Float32Array(height*width);
  rows.forEach(([above, below, down], y) => {
    columns.forEach(([left, right, across], x) => {
      const mix = row => values[row*w + left]*(1 - across) + values[row*w + right]*across;
      out[y*width + x] = mix(above)*(1 - down) + mix(below)*down;
    });
  });
  return out;
}

function nearest({h, w, values}, height, width) { // one square for each location
  return Float32Array.from({length: height*width}, (_, i) => {
    const row = Math.floor((Math.floor(i/width) + .5)*h/height);
    return values[row*w + Math.floor((i % width + .5)*w/width)];
  });
}

// ---------- images: {width, height, data}, four bytes for each pixel ----------

function blank(width, height, value) {
  const data = new Uint8ClampedArray(4*width*height).map((_, i) => i % 4 === 3 ? 255 : value);
  return {width, height, data};
}

function dimmed({width, height, data}) {
  const out = blank(width, height, 0);
  for (let i = 0; i < data.length; i += 4) {
    const grey = .299*data[i] + .587*data[i + 1] + .114*data[i + 2];
    out.data.fill(Math.floor(.45*grey + 20), i, i + 3);
  }
  return out;
}

// copy the rectangle of `from` whose corner is (x,y) in `to`, as far as there is one
function paste(to, from, x, y) {
  const first = Math.max(0, x), last = Math.min(to.width, x + from.width);
  if (last <= first) return;
  for (let row = Math.max(0, y); row < Math.min(to.height, y + from.height); row++) {
    const start = 4*((row - y)*from.width + first - x);
    const pixels = from.data.subarray(start, start + 4*(last - first));
    to.data.set(pixels, 4*(row*to.width + first));
  }
}

// what `draw` makes of the part of the image in `box`, in its place in the dimmed image
function inPlace(image, box, draw) {
  if (!box.length) return {...image, data: draw(image)};
  const [left, top, right, bottom] = box, part = blank(right - left, bottom - top, 128);
  paste(part, image, -left, -top);
  const whole = dimmed(image);
  paste(whole, {...part, data: draw(part)}, left, top);
  return whole;
}

// ---------- colours ----------

const BLUE = 25, RED = 230; // where they stand in the blue-white-red table
const OPACITY_POWER = .7; // as in `petcam.heatmap`

const position = (v, {signed, limit}) => clip(signed ? (v/limit + 1)/2 : v/limit, 0, 1);
const step = t => Math.min(255, Math.floor(256*t)); // of a table of 256 colours
const colourAt = (table, t) => table.subarray(3*step(t), 3*step(t) + 3);

// the colours of the values alone -> pixels
function shade(values, table, colours) {
  const out = new Uint8ClampedArray(4*values.length).fill(255);
  values.forEach((v, i) => out.set(colourAt(table, position(v, colours)), 4*i));
  return out;
}

// values -> pixels, over those of `under`, which keeps its colours where the map is weak
function paint(values, under, table, colours) {
  const {alpha, signed} = colours, out = new Uint8ClampedArray(4*values.length);
  for (let i = 0; i < values.length; i++) {
    const t = position(values[i], colours);
    const opacity = (signed ? Math.abs(2*t - 1) : t)**OPACITY_POWER;
    const tint = 3*(signed ? (t > .5 ? RED : BLUE) : step(t));
    const grey = .299*under[4*i] + .587*under[4*i + 1] + .114*under[4*i + 2];
    const fade = signed ? Math.sqrt(opacity) : 0; // to grey: there colour means evidence
    for (let j = 0; j < 3; j++) {
      const base = under[4*i + j] + (grey - under[4*i + j])*fade;
      out[4*i + j] = base + (table[tint + j] - base)*opacity*alpha;
    }
    out[4*i + 3] = 255;
  }
  return out;
}

// the colours from the lowest to the highest, for CSS
function legend(table) {
  const steps = [...Array(33).keys()].map(i => `rgb(${colourAt(table, i/32)})`);
  return `linear-gradient(90deg, ${steps})`;
}

// ---------- words: petcam's own, letter for letter ----------

function fixed(v, digits) { // as Python writes it: halfway between two numbers, the even one
  const halfway = Math.abs(v*2**(digits + 1)) % 2 === 1;
  if (!halfway) return v.toFixed(digits);
  const below = Math.floor(v*10**digits);
  return ((below + Math.abs(below % 2))/10**digits).toFixed(digits);
}

const percent = (p, digits = 1) => fixed(100*p, digits) + '%';

// the fractions of the positive evidence in the thirds of the image
function thirds({h, w, values}, across) {
  const sums = [0, 0, 0], n = across ? w : h;
  values.forEach((v, i) => {
    const at = across ? i % w : Math.floor(i/w);
    for (let part = 3*at; part < 3*at + 3; part++) sums[Math.floor(part/n)] += Math.max(0, v)/3;
  });
  const all = sums[0] + sums[1] + sums[2];
  return sums.map(sum => percent(Math.fround(sum/all), 0));
}

function describe(map) { // `petcam.heatmap.describe`
  const {h, w, values} = map;
  const at = values.reduce((best, v, i) => v > values[best] ? i : best, 0);
  if (!(values[at] > 0)) return 'No positive evidence anywhere in the image.';
  const row = Math.floor(at/w), column = at % w;
  const vertical = ['top', 'middle', 'bottom'][Math.floor(3*(row + .5)/h)];
  const horizontal = ['left', 'centre', 'right'][Math.floor(3*(column + .5)/w)];
  const central = vertical === 'middle' && horizontal === 'centre';
  const place = central ? 'centre' : `${vertical} ${horizontal}`;
  const flat = values.every(v => v === values[0]);
  const top = flat ? 'The same everywhere. ' :
    `Strongest at the ${place} (row ${row + 1} of ${h}, column ${column + 1} of ${w}). `;
  const x = thirds(map, true), y = thirds(map, false);
  return `${top}Of what is above zero, by thirds: left ${x[0]}, centre ${x[1]}, right ${x[2]}; ` +
    `top ${y[0]}, middle ${y[1]}, bottom ${y[2]}.`;
}

function verdict(logits, target, names, activation) { // `petcam.engine.targets.verdict`
  const score = fixed(logits[target], 2);
  if (activation === 'none') return `${names[target]}: ${score}`;
  const p = probabilities(logits, activation), rank = rankOf(logits, target);
  const top = argmax(logits), ranked = logits.length > 1 ? `, rank ${rank} of ${logits.length}` : '';
  const said = `${names[target]}: logit ${score}, ${percent(p[target])}${ranked}`;
  if (activation === 'sigmoid' || rank === 1) return said;
  return `${said}; the model predicts ${names[top]} (${percent(p[top])})`;
}

function words(now) { // `CamExplorer.words`
  const {names, logits, activation, target, layer, depth, method, agnostic, map, box, note} = now;
  const same = agnostic ? ' (the same for every class)' : '';
  const how = `${map.h} x ${map.w}, ${depth} (layer ${layer}), ${method}${same}`;
  const part = box.length ? 'In the part that the model sees: ' : '';
  return `${verdict(logits, target, names, activation)}, ${how}. ${note || part + describe(map)}`;
}

// ---------- the page ----------

function explore(root) { // the section that templates/explorer.html makes
  const data = JSON.parse(root.querySelector('[type="application/json"]').textContent);
  const names = data.class_names;
  const tables = {signed: bytes(data.tables.RdBu_r), positive: bytes(data.tables.magma)};
  const el = name => root.querySelector(`.px-${name}`);
  const make = (tag, more) => Object.assign(document.createElement(tag), more);
  let shown = 0, under = null; // the image on show: its index, its pixels

  function chosen() { // what the controls say, and what belongs to it
    const image = data.images[shown], {logits, box} = image, {activation} = data;
    const target = +el('target').value, layer = +el('layer').value, method = +el('method').value;
    const packed = image.layers[layer][method];
    const map = unpack(packed, target);
    const signed = !el('positive').checked;
    const drawn = values => signed ? values : values.map(v => Math.max(0, v));
    const scale = el('same-scale').checked ? unpack(packed, argmax(logits)) : map;
    return {
      names, logits, activation, box, map, target,
      layer: data.layers[layer], depth: data.depths[layer], method: data.methods[method],
      agnostic: packed.lo.length < names.length, note: map.values.some(v => v) ? '' : packed.note,
      values: drawn(map.values),
      colours: {alpha: +el('alpha').value, signed, limit: largest(drawn(scale.values)) || 1},
    };
  }

  function put(name, {width, height, data}) {
    Object.assign(el(name), {width, height});
    el(name).getContext('2d').putImageData(new ImageData(data, width, height), 0, 0);
  }

  function draw({map: {h, w}, values, colours, box}) {
    const {signed, limit} = colours, table = signed ? tables.signed : tables.positive;
    const map = {h, w, values}, {width, height} = under;
    put('image', inPlace(under, box, part => part.data));
    put('squares', inPlace(blank(width, height, 255), box, part => shade(
      nearest(map, part.height, part.width), table, colours)));
    put('over', inPlace(under, box, part => paint(
      upsample(map, part.height, part.width), part.data, table, colours)));
    el('legend').style.background = legend(table);
    el('low').textContent = signed ? 'negative −' + limit.toPrecision(2) : '0';
    el('high').textContent = 'positive +' + limit.toPrecision(2);
  }

  function show() {
    if (!under) return; // the first image is still being decoded
    const now = chosen(), {logits, target, map} = now;
    draw(now);
    el('words').textContent = words(now);
    for (const name of ['squares', 'over']) el(name).setAttribute('aria-label', words(now));
    const ranked = data.activation !== 'none' && logits.length > 1;
    const rank = ranked ? `, rank ${rankOf(logits, target)} of ${logits.length}` : '';
    const notes = { // in bold, and what stands after it
      target: [names[target], score(logits, target) + rank],
      layer: [`${map.h} x ${map.w}, ${now.depth}`, `layer ${now.layer}`],
      alpha: [percent(now.colours.alpha, 0), ''],
    };
    for (const [name, [title, more]] of Object.entries(notes)) {
      const parts = [make('b', {textContent: title}), ' ', make('span', {textContent: more})];
      el(`${name}-value`).replaceChildren(...parts);
      el(name).setAttribute('aria-valuetext', more ? `${title}, ${more}` : title);
    }
    for (const line of el('list').children) {
      line.firstChild.setAttribute('aria-pressed', +line.dataset.k === target);
    }
  }

  function score(logits, k) { // a percentage, or with no activation the number itself
    const p = probabilities(logits, data.activation)[k];
    return data.activation === 'none' ? fixed(p, 2) : percent(p);
  }

  function list() { // the classes, the most probable first
    const {logits} = data.images[shown], p = probabilities(logits, data.activation);
    const order = [...p.keys()].sort((a, b) => logits[b] - logits[a]);
    el('list').replaceChildren(...order.map(k => {
      const line = make('li'), button = make('button', {type: 'button', tabIndex: -1});
      button.append(...[names[k], score(logits, k)].map(text => make('span', {textContent: text})));
      button.onclick = () => {
        el('target').value = k;
        show();
      };
      line.dataset.k = k;
      const bar = data.activation === 'none' ? 0 : p[k]/p[order[0]];
      line.style.setProperty('--p', `${100*bar}%`);
      line.append(button);
      return line;
    }));
  }

  function thumbnail(image, i) {
    const label = make('label');
    const input = make('input', {type: 'radio', name: `${root.id}-image`, checked: i === 0});
    input.onchange = () => choose(i);
    const small = make('img', {src: image.src, alt: ''});
    label.append(input, small, make('span', {textContent: image.title}));
    return label;
  }

  async function choose(i, keep) { // another image, at its most probable class unless `keep`
    shown = i;
    const {src, title, logits} = data.images[i], image = make('img', {src});
    if (!keep) el('target').value = argmax(logits);
    await image.decode();
    if (shown !== i) return; // meanwhile another one was chosen
    const {naturalWidth: width, naturalHeight: height} = image;
    Object.assign(el('image'), {width, height});
    el('image').setAttribute('aria-label', title);
    const context = el('image').getContext('2d');
    context.drawImage(image, 0, 0);
    under = {width, height, data: context.getImageData(0, 0, width, height).data};
    list();
    show();
  }

  el('target').max = names.length - 1;
  el('layer').max = data.layers.length - 1; // before the value, which it limits
  el('layer').value = data.opening;
  el('alpha').value = data.alpha;
  el('thumbnails').append(...data.images.map(thumbnail));
  el('thumbnails').hidden = data.images.length < 2;
  for (const name of ['target', 'layer', 'alpha', 'method', 'positive', 'same-scale']) {
    el(name).addEventListener('input', show);
  }
  root.petcam = { // for tests, and for the curious
    data,
    map: () => chosen().map,
    show: (image, target, layer, method = 0) => {
      Object.entries({target, layer, method}).forEach(([name, i]) => {
        el(name).value = i;
      });
      return choose(image, true);
    },
  };
  el('still').remove();
  el('app').hidden = false;
  choose(0);
}

if (typeof module !== 'undefined') { // in Node, for the tests
  module.exports = {
    argmax, largest, bytes, probabilities, rankOf, unpack, upsample, nearest, blank, inPlace,
    shade, paint, legend,
    fixed, percent, thirds, describe, verdict, words, explore,
  };
}
