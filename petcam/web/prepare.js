"use strict";
// From an image file to the input of a network, number for number as Python prepares it:
// Pillow resizes on 8 bits, torch samples in 32. An image is {width, height, data}, four bytes for each pixel.

const rounded = v => { // as Python's `round`: a half goes to the even number
  const low = Math.floor(v);
  return v - low === .5 ? low + low % 2 : Math.round(v);
};
const canvas = (width, height) => { // opaque
  if (!(width > 0 && height > 0)) throw new Error(`The image would become ${width} x ${height} pixels; expected at least one.`);
  return {width, height, data: new Uint8ClampedArray(4*width*height).fill(255)};
};

// ---------- Pillow's Image.resize ----------

const sinc = x => x === 0 ? 1 : Math.sin(x*Math.PI)/(x*Math.PI);
const bicubic = x => x < 1 ? (1.5*x - 2.5)*x*x + 1 : x < 2 ? (((x - 5)*x + 8)*x - 4)*-.5 : 0;
const FILTERS = { // how far it reaches, and the weight of a pixel at distance x
  box: [.5, x => x > -.5 && x <= .5 ? 1 : 0],
  bilinear: [1, x => Math.max(0, 1 - Math.abs(x))],
  hamming: [1, x => Math.abs(x) < 1 ? sinc(x)*(Math.fround(.54) + Math.fround(.46)*Math.cos(x*Math.PI)) : 0],
  bicubic: [2, x => bicubic(Math.abs(x))],
  lanczos: [3, x => x >= -3 && x < 3 ? sinc(x)*sinc(x/3) : 0],
};
const BITS = 22; // of a weight, behind the point

function kernels(from, to, [reach, weight]) { // for each of `to` pixels: the first that it reads, and the weights
  const scale = from/to, stretch = Math.max(scale, 1);
  return Array.from({length: to}, (_, i) => {
    const centre = (i + .5)*scale;
    const first = Math.max(0, Math.trunc(centre - reach*stretch + .5));
    const end = Math.min(from, Math.trunc(centre + reach*stretch + .5));
    const weights = Array.from({length: end - first}, (_, k) => weight((k + first - centre + .5)*(1/stretch)));
    const sum = weights.reduce((a, b) => a + b);
    return {first, weights: Int32Array.from(weights, w => Math.trunc(w/sum*2**BITS + (w < 0 ? -.5 : .5)))};
  });
}

function weighed(out, to, data, from, step, {first, weights}) { // one pixel of `out`, of pixels `step` bytes apart
  let r = 1 << BITS - 1, g = r, b = r;
  for (let k = 0, at = from + first*step; k < weights.length; k++, at += step) {
    r += weights[k]*data[at];
    g += weights[k]*data[at + 1];
    b += weights[k]*data[at + 2];
  }
  out[to] = r >> BITS;
  out[to + 1] = g >> BITS;
  out[to + 2] = b >> BITS;
}

function resizedAcross({width, height, data}, to, filter) {
  const out = canvas(to, height), all = kernels(width, to, filter);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < to; x++) weighed(out.data, 4*(y*to + x), data, 4*y*width, 4, all[x]);
  }
  return out;
}

function resizedDown({width, height, data}, to, filter) {
  const out = canvas(width, to), all = kernels(height, to, filter);
  for (let y = 0; y < to; y++) {
    for (let x = 0; x < width; x++) weighed(out.data, 4*(y*width + x), data, 4*x, 4*width, all[y]);
  }
  return out;
}

function nearest(image, width, height) {
  const at = (from, to) => { // the steps are added up, as Pillow does
    const step = from/to, places = [];
    for (let i = 0, place = step/2; i < to; i++, place += step) places.push(Math.min(from - 1, Math.trunc(place)));
    return places;
  };
  const out = canvas(width, height), columns = at(image.width, width);
  const [from, to] = [image, out].map(o => new Uint32Array(o.data.buffer, o.data.byteOffset, o.width*o.height));
  at(image.height, height).forEach((row, y) => {
    columns.forEach((column, x) => { to[y*width + x] = from[row*image.width + column]; });
  });
  return out;
}

function resize(image, width, height, filter) {
  if (width === image.width && height === image.height) return image;
  if (filter.startsWith('nearest')) return nearest(image, width, height);
  const across = o => width === o.width ? o : resizedAcross(o, width, FILTERS[filter]);
  const down = o => height === o.height ? o : resizedDown(o, height, FILTERS[filter]);
  const less = image.height - height; // which of the two Pillow 13 does first; before, always `across`
  return less > Math.max(0, 2*(image.width - width)) ? across(down(image)) : down(across(image));
}

function atMost(image, most, filter) { // pixels wide and high
  const factor = most/Math.max(image.width, image.height, most);
  return resize(image, rounded(image.width*factor), rounded(image.height*factor), filter);
}

function shrunk(image, most) { // as Python shows an image: in two steps
  return atMost(atMost(image, 1600, 'bilinear'), most, 'lanczos');
}

function reduce({width, height, data}, factor) { // Pillow's Image.reduce: means of squares of pixels
  const out = canvas(Math.ceil(width/factor), Math.ceil(height/factor));
  for (let y = 0; y < out.height; y++) {
    const bottom = Math.min(height, (y + 1)*factor);
    for (let x = 0; x < out.width; x++) {
      const right = Math.min(width, (x + 1)*factor), n = (bottom - y*factor)*(right - x*factor);
      let r = n >> 1, g = r, b = r;
      for (let row = y*factor; row < bottom; row++) {
        for (let at = 4*(row*width + x*factor), end = 4*(row*width + right); at < end; at += 4) {
          r += data[at];
          g += data[at + 1];
          b += data[at + 2];
        }
      }
      const share = Math.floor(2**24/n)/2**24, to = 4*(y*out.width + x);
      out.data[to] = Math.floor(r*share);
      out.data[to + 1] = Math.floor(g*share);
      out.data[to + 2] = Math.floor(b*share);
    }
  }
  return out;
}

// ---------- resize, normalise, cut: petcam's Recipe ----------

function sizeFor({width, height}, {resized: [h, w], crop_mode}) { // width and height of the resized image
  const ratios = [width/w, height/h];
  if (crop_mode === 'squash') return [w, h];
  if (crop_mode === 'border') return [width, height].map(o => rounded(o/Math.max(...ratios)));
  if (w !== h) return [width, height].map(o => rounded(o/Math.min(...ratios)));
  const short = Math.min(width, height);
  return [width, height].map(o => o === short ? w : Math.trunc(w*o/short)); // as torchvision
}

const before = (n, size) => // where a central cut of `size` of `n` pixels begins
  size > n ? n - size + 1 >> 1 : rounded((n - size)/2);

function normalised(image, left, top, width, height, {mean, std}) { // beyond the image: 0
  const x = new Float32Array(3*width*height);
  mean.forEach((m, c) => {
    const values = Float32Array.from({length: 256}, (_, v) =>
      Math.fround(Math.fround(v/255) - Math.fround(m))/Math.fround(std[c]));
    for (let row = Math.max(0, -top); row < Math.min(height, image.height - top); row++) {
      for (let column = Math.max(0, -left); column < Math.min(width, image.width - left); column++) {
        const at = 4*((row + top)*image.width + column + left);
        x[(c*height + row)*width + column] = values[image.data[at + c]];
      }
    }
  });
  return x;
}

function byRecipe(image, recipe) {
  const [h, w] = recipe.size, [W, H] = sizeFor(image, recipe);
  const left = before(W, w), top = before(H, h);
  const x = normalised(resize(image, W, H, recipe.interpolation), left, top, w, h, recipe);
  return {x, box: [left/W, top/H, (left + w)/W, (top + h)/H]};
}

// ---------- one item of a learner's data: petcam's `change`, with nothing changed ----------

function plane({width, height, data}, c) { // one colour, from 0 to 1
  const values = new Float32Array(width*height);
  for (let i = 0; i < values.length; i++) values[i] = data[4*i + c]/255;
  return {w: width, h: height, values};
}

function area({w, h, values}, width, height) { // torch's interpolate with mode 'area': means of parts
  const spans = (from, to) => Array.from({length: to}, (_, i) => [Math.floor(i*from/to), Math.ceil((i + 1)*from/to)]);
  const columns = spans(w, width), rows = spans(h, height), out = new Float32Array(width*height);
  rows.forEach(([top, bottom], y) => {
    columns.forEach(([left, right], x) => {
      let sum = 0;
      for (let row = top; row < bottom; row++) {
        for (let column = left; column < right; column++) sum += values[row*w + column];
      }
      out[y*width + x] = sum/((bottom - top)*(right - left));
    });
  });
  return {w: width, h: height, values: out};
}

// where torch's grid_sample reads the pixels first, first + 1, ... of `to`: the corners' centres meet
function places(from, to, first, size) {
  const step = Math.fround(2/(to - 1)), f = Math.fround;
  return Array.from({length: size}, (_, i) => {
    const k = first + i;
    const at = to === 1 ? -1 : f(k < Math.floor(to/2) ? step*k - 1 : 1 - step*(to - k - 1));
    const place = f(f(at + 1)*f((from - 1)/2)), low = Math.min(Math.floor(place), Math.max(0, from - 2));
    return [low, Math.min(low + 1, from - 1), place - low];
  });
}

function sampled({w, values}, rows, columns) { // bilinear
  const out = new Float32Array(rows.length*columns.length);
  rows.forEach(([above, below, down], y) => {
    columns.forEach(([left, right, across], x) => {
      const mix = row => values[row*w + left]*(1 - across) + values[row*w + right]*across;
      out[y*columns.length + x] = mix(above)*(1 - down) + mix(below)*down;
    });
  });
  return out;
}

// where, from 0 to 1, pixel k of `to` begins
const edge = (from, to, k) => to === 1 ? k : (.5 + (k - .5)*(from - 1)/(to - 1))/from;

function asItem(image, {size, mean, std}) {
  const factor = [8, 4, 2].find(k => Math.min(image.width, image.height) >= 2*k*size);
  if (factor) image = reduce(image, factor);
  const {width, height} = image, ratio = Math.min(height/size, width/size);
  const [w, h] = [width, height].map(o => rounded(o/ratio));
  const [left, top] = [w, h].map(n => Math.trunc((n - size + 1)/2));
  const shrink = Math.max(1, Math.min(height/h, width/w)/2);
  const [W, H] = [width, height].map(o => Math.floor(o*(1/shrink)));
  const box = [edge(W, w, left), edge(H, h, top), edge(W, w, left + size), edge(H, h, top + size)];
  if (w === width && h === height) return {x: normalised(image, left, top, size, size, {mean, std}), box};
  const rows = places(H, h, top, size), columns = places(W, w, left, size);
  const x = new Float32Array(3*size*size);
  mean.forEach((m, c) => {
    const all = plane(image, c), values = sampled(shrink > 1 ? area(all, W, H) : all, rows, columns);
    x.set(values.map(v => Math.fround(v - Math.fround(m))/Math.fround(std[c])), c*size*size);
  });
  return {x, box};
}

function prepared(image, recipe) { // -> the network's input (3,h,w), and the part of the image that it shows
  const {x, box} = recipe.kind === 'square' ? asItem(image, recipe) : byRecipe(image, recipe);
  const sides = [image.width, image.height, image.width, image.height];
  const isAll = box.every((o, i) => Math.abs(o - (i < 2 ? 0 : 1))*sides[i] < .5);
  return {x, box: isAll ? null : box};
}

// ---------- files ----------

const MOST = 2**26; // pixels: more than most cameras have
const KINDS = { // how their files begin
  JPEG: /^\xff\xd8\xff/, PNG: /^\x89PNG/, GIF: /^GIF8/, WebP: /^RIFF....WEBP/s, BMP: /^BM/,
  AVIF: /^....ftypavi[fs]/s, TIFF: /^(II\*\0|MM\0\*)/, HEIC: /^....ftyp(hei|hev|mif1|msf1)/s,
  PSD: /^8BPS/, PDF: /^%PDF/, SVG: /^\s*<(svg|\?xml)/,
};
const OTHERS = ['TIFF', 'HEIC', 'PSD', 'PDF', 'SVG']; // which many browsers do not decode

function complaint(name, kind) { // of a file that the browser does not decode
  if (!kind) return `${name} is not an image that can be read; expected JPEG, PNG, WebP, GIF or AVIF.`;
  if (OTHERS.includes(kind)) return `${name} is a file of kind ${kind}, which cannot be read here; save it as JPEG or PNG.`;
  return `${name} cannot be read: this ${kind} file is damaged, or larger than this browser can hold.`;
}

async function kindOf(blob) {
  const start = new Uint8Array(await blob.slice(0, 64).arrayBuffer());
  const text = String.fromCharCode(...start);
  return Object.keys(KINDS).find(kind => KINDS[kind].test(text));
}

async function decode(blob, name = blob.name || 'The image') { // upright, in sRGB, on white
  if (!blob.size) throw new Error(`${name} is empty; expected an image.`);
  const kind = await kindOf(blob);
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, {imageOrientation: 'from-image'});
  } catch {
    throw new Error(complaint(name, kind));
  }
  const {width, height} = bitmap;
  try {
    if (width*height > MOST) {
      throw new Error(`${name} has ${Math.ceil(width*height/1e6)} million pixels (${width} x ${height}); expected at most ${Math.floor(MOST/1e6)} million.`);
    }
    const context = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
    context.fillStyle = 'white';
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    const {data} = context.getImageData(0, 0, width, height);
    if (data[3] === 255) return {width, height, data};
    throw new Error(`${name} has ${width} x ${height} pixels, which is more than this browser can hold; save it smaller.`);
  } finally {
    bitmap.close();
  }
}

if (typeof module !== 'undefined') { // in Node, for the tests
  module.exports = {rounded, resize, shrunk, reduce, prepared, decode};
}
