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

// ---------- more words ----------

function doubt(logits, activation) { // what must be said of a low probability
  const p = probabilities(logits, activation);
  const best = Math.max(...p);
  if (activation !== 'softmax' || best >= .5) return '';
  return `The network is not sure: its most probable class has only ${percent(best)}.`;
}

function matching(names, query) { // the indices of the names with words that begin so
  const plain = text => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
  const parts = text => plain(text).split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const asked = parts(query);
  return [...names.keys()].filter(k => {
    const found = parts(names[k]);
    return asked.every(start => found.some(word => word.startsWith(start)));
  });
}

// ---------- the page ----------

const MANY = 100; // classes: of more than so many, only the most probable are listed
const LISTED = 5;

// The section that templates/explorer.html makes, or with a network that runs in the page,
// `live`, the one that templates/live.html makes: then images are looked at and maps computed
// when they are asked for.
function explore(root, live = null) {
  const data = JSON.parse(root.querySelector('[type="application/json"]').textContent);
  const names = data.class_names;
  const tables = {signed: bytes(data.tables.RdBu_r), positive: bytes(data.tables.magma)};
  const el = name => root.querySelector(`.px-${name}`);
  const make = (tag, more) => Object.assign(document.createElement(tag), more);
  const computed = {}; // maps of the network in the page
  let shown = 0, turn = 0, asking = false, slow = null; // the index of the image on show

  function chosen() { // what the controls say
    return Object.fromEntries(['target', 'layer', 'method'].map(name => [name, +el(name).value]));
  }

  function known({target, layer, method}) { // a map, or undefined while it is not computed
    const image = data.images[shown];
    if (live) return computed[[shown, layer, method, target]];
    const packed = image.layers[layer][method];
    return {...unpack(packed, target), note: packed.note, agnostic: packed.lo.length < names.length};
  }

  async function compute({target, layer, method}) {
    if (asking) return; // `show` asks again when that map is there
    asking = true;
    const at = [shown, layer, method, target];
    try {
      computed[at] = await live.map(data.images[shown], data.layers[layer], target,
                                    data.methods[method]);
      asking = false;
      show();
    } catch (error) {
      asking = false;
      wait(false);
      el('words').textContent = error.message;
    }
  }

  function wait(on) { // a map that takes long is said to be on its way
    clearTimeout(slow);
    if (!on) return el('app').removeAttribute('aria-busy');
    slow = setTimeout(() => {
      el('app').setAttribute('aria-busy', 'true');
      el('words').textContent = 'Computing this map …';
    }, 150);
  }

  function put(name, {width, height, data}) {
    Object.assign(el(name), {width, height});
    el(name).getContext('2d').putImageData(new ImageData(data, width, height), 0, 0);
  }

  function draw({h, w, values}, scale, box) {
    const signed = !el('positive').checked, table = signed ? tables.signed : tables.positive;
    const drawn = values => signed ? values : values.map(v => Math.max(0, v));
    const limit = largest(drawn(scale.values)) || 1;
    const colours = {alpha: +el('alpha').value, signed, limit};
    const map = {h, w, values: drawn(values)}, {pixels} = data.images[shown];
    put('image', inPlace(pixels, box, part => part.data));
    put('squares', inPlace(blank(pixels.width, pixels.height, 255), box, part => shade(
      nearest(map, part.height, part.width), table, colours)));
    put('over', inPlace(pixels, box, part => paint(
      upsample(map, part.height, part.width), part.data, table, colours)));
    el('legend').style.background = legend(table);
    el('low').textContent = signed ? `negative −${limit.toPrecision(2)}` : '0';
    el('high').textContent = `positive +${limit.toPrecision(2)}`;
  }

  function name(control, title, more) { // in bold, and what stands after it
    const bold = make('b', {textContent: title, translate: control !== 'target'}); // a class has its own name
    const parts = [bold, ' ', make('span', {textContent: more})];
    el(`${control}-value`).replaceChildren(...parts);
    el(control).setAttribute('aria-valuetext', more ? `${title}, ${more}` : title);
  }

  function show() { // what the controls ask for, as soon as its map is there
    const {logits, box, pixels} = data.images[shown];
    if (!pixels) return; // the image is still being decoded
    const question = chosen(), {target, layer, method} = question, {activation} = data;
    const ranked = activation !== 'none' && logits.length > 1;
    const rank = ranked ? `, rank ${rankOf(logits, target)} of ${logits.length}` : '';
    name('target', names[target], score(probabilities(logits, activation)[target]) + rank);
    name('alpha', percent(+el('alpha').value, 0), '');
    const isListed = el('list').querySelector(`[data-k='${target}']`);
    if (isListed || el('search').value) mark();
    else list();

    const questions = [question];
    if (el('same-scale').checked) questions.push({...question, target: argmax(logits)});
    const missing = questions.find(o => !known(o));
    wait(missing);
    if (missing) return void compute(missing);
    const map = known(question), depth = data.depths[layer];
    name('layer', `${map.h} x ${map.w}, ${depth}`, `layer ${data.layers[layer]}`);
    draw(map, known(questions.at(-1)), box);
    const said = words({
      names, logits, activation, target, box, map, depth, layer: data.layers[layer],
      method: data.methods[method], agnostic: map.agnostic,
      note: map.values.some(v => v) ? '' : map.note,
    });
    el('words').textContent = said;
    for (const canvas of ['squares', 'over']) el(canvas).setAttribute('aria-label', said);
  }

  function score(p) { // a percentage, or with no activation the number itself
    return data.activation === 'none' ? fixed(p, 2) : percent(p);
  }

  function mark() { // the chosen class, in the list
    for (const line of el('list').querySelectorAll('[data-k]')) {
      line.firstChild.setAttribute('aria-pressed', +line.dataset.k === chosen().target);
    }
  }

  function list() { // the classes, the most probable first
    const {logits} = data.images[shown], p = probabilities(logits, data.activation);
    const most = Math.max(...p);
    const query = el('search').value, target = chosen().target;
    const order = matching(names, query).sort((a, b) => logits[b] - logits[a]);
    const all = query || names.length <= MANY;
    const listed = all ? order : order.filter((k, i) => i < LISTED || k === target);
    el('list').replaceChildren(...listed.map(k => {
      const line = make('li'), button = make('button', {type: 'button', tabIndex: -1});
      button.append(...[names[k], score(p[k])].map(text => make('span', {textContent: text, translate: false})));
      button.onclick = () => {
        el('target').value = k;
        show();
      };
      line.dataset.k = k;
      const bar = data.activation === 'none' ? 0 : p[k]/most;
      line.style.setProperty('--p', `${100*bar}%`);
      line.append(button);
      return line;
    }));
    if (!listed.length) el('list').append(make('li', {textContent: 'No class has words that begin so.'}));
    el('doubt').textContent = doubt(logits, data.activation);
    mark();
  }

  function search({key, target: at}) { // the arrow keys go through what was found, Enter takes it
    const buttons = [...el('list').querySelectorAll('button')];
    const step = {ArrowDown: 1, ArrowUp: -1}[key];
    if (step) (buttons[buttons.indexOf(at) + step] || el('search')).focus();
    else if (key !== 'Enter' || at !== el('search')) return true;
    else buttons[0]?.click();
    return false;
  }

  function thumbnail(image, i) {
    const label = make('label');
    const input = make('input', {type: 'radio', name: `${root.id}-image`, checked: i === 0});
    input.onchange = () => choose(i);
    const small = make('img', {src: image.src, alt: ''});
    label.append(input, small, make('span', {textContent: image.title}));
    el('thumbnails').append(label);
    el('thumbnails').hidden = el('thumbnails').querySelectorAll('label').length < 2;
    return input;
  }

  async function decoded({src}) { // its pixels
    const image = make('img', {src});
    await image.decode();
    const {naturalWidth: width, naturalHeight: height} = image;
    const canvas = make('canvas', {width, height}), context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    return {width, height, data: context.getImageData(0, 0, width, height).data};
  }

  async function choose(i, keep) { // another image, at its most probable class unless `keep`
    const mine = ++turn, image = data.images[i];
    if (!image.pixels) {
      Object.assign(image, live ? await live.look(image) : {pixels: await decoded(image)});
    }
    if (mine !== turn) return; // meanwhile another one was chosen
    shown = i;
    if (!keep) el('target').value = argmax(image.logits);
    el('image').setAttribute('aria-label', image.title);
    list();
    show();
  }

  function add(image, chosen) { // one that has been looked at
    const input = thumbnail(image, data.images.push(image) - 1);
    if (!chosen) return;
    input.click();
    el('thumbnails').scrollLeft = el('thumbnails').scrollWidth;
  }

  el('target').max = names.length - 1;
  el('layer').max = data.layers.length - 1; // before the value, which it limits
  el('layer').value = data.opening;
  el('alpha').value = data.alpha;
  data.images.forEach((image, i) => thumbnail(image, i));
  el('search').parentElement.hidden = names.length <= 2*LISTED;
  el('search').placeholder = `one of ${names.length} classes`;
  el('search').addEventListener('input', list);
  el('right').onkeydown = search;
  for (const name of ['target', 'layer', 'alpha', 'method', 'positive', 'same-scale']) {
    el(name).addEventListener('input', show);
  }
  root.petcam = { // for tests, and for the curious
    ...root.petcam, data, add,
    map: () => known(chosen()),
    show: (image, target, layer, method = 0) => {
      Object.entries({target, layer, method}).forEach(([name, i]) => {
        el(name).value = i;
      });
      return choose(image, true);
    },
  };
  el('still').remove();
  el('app').hidden = false;
  return choose(0);
}

if (typeof module !== 'undefined') { // in Node, for the tests
  module.exports = {
    argmax, largest, bytes, probabilities, rankOf, unpack, upsample, nearest, blank, inPlace,
    shade, paint, legend,
    fixed, percent, thirds, describe, verdict, words, doubt, matching, explore,
  };
}
