"use strict";
/* global decode, prepared, shrunk, postMessage */
// The network, in a worker of the page: prepare.js stands before this in the same script.
// Each message {id, do, ...} is answered by {id, ...result} or {id, error}.

// ---------- from feature map and gradient, both (c,h,w), to a map (h,w): petcam.methods ----------

const zeros = ({h, w}) => new Float64Array(h*w);

function weighted(a, weights) { // the sum of the channels, each times its weight
  const n = a.h*a.w, out = zeros(a);
  weights.forEach((weight, c) => {
    for (let i = 0; i < n; i++) out[i] += weight*a.values[c*n + i];
  });
  return out;
}

function perChannel(a, f) { // f(where a channel begins, where it ends) -> a number
  const n = a.h*a.w;
  return Float64Array.from({length: a.c}, (_, c) => f(c*n, (c + 1)*n));
}

function sum(values, from, to) {
  let total = 0;
  for (let i = from; i < to; i++) total += values[i];
  return total;
}

function summed(a, f) { // f of each channel at a location, summed
  const n = a.h*a.w, out = zeros(a);
  for (let i = 0; i < a.values.length; i++) out[i % n] += f(i);
  return out;
}

const meanActivation = a => summed(a, i => a.values[i]/a.c);
const gradCam = (a, g) => weighted(a, perChannel(a, (from, to) => sum(g, from, to)/(to - from)));
const hiResCam = (a, g) => summed(a, i => a.values[i]*g[i]);
const layerCam = (a, g) => summed(a, i => a.values[i]*Math.max(0, g[i]));

function gradCamPlusPlus(a, g) {
  return weighted(a, perChannel(a, (from, to) => {
    const all = sum(a.values, from, to);
    let weight = 0;
    for (let i = from; i < to; i++) {
      const below = 2*g[i]**2 + g[i]**3*all;
      if (below) weight += g[i]**2/below*Math.max(0, g[i]);
    }
    return weight;
  }));
}

function eigenCam(a) { // the first singular vector, by power iteration
  const n = a.h*a.w;
  const across = map => perChannel(a, from => {
    let total = 0;
    for (let i = 0; i < n; i++) total += a.values[from + i]*map[i];
    return total;
  });
  let map = meanActivation(a);
  if (!map.some(v => v)) map.fill(1);
  for (let round = 0; round < 1000; round++) {
    const channels = across(map), length = Math.hypot(...channels);
    if (!length) return zeros(a);
    const next = weighted(a, channels.map(v => v/length));
    const moved = Math.sqrt(next.reduce((total, v, i) => total + (v - map[i])**2, 0));
    map = next;
    if (moved < 1e-9*Math.hypot(...next)) break;
  }
  const sign = Math.sign(sum(map, 0, n)); // a direction has no sign of its own
  return map.map(v => v*sign);
}

const METHODS = {
  'mean activation': meanActivation, 'Eigen-CAM': eigenCam, 'Grad-CAM': gradCam,
  'Grad-CAM++': gradCamPlusPlus, 'HiResCAM': hiResCam, 'LayerCAM': layerCam,
};
const CLASS_AGNOSTIC = ['mean activation', 'Eigen-CAM']; // no gradient

// ---------- packed bytes ----------

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64), out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

async function unpacked(base64) { // base64 of gzip
  const stream = new Blob([bytesOf(base64)]).stream();
  const open = stream.pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(open).arrayBuffer());
}

// ---------- the network ----------

const network = {images: [], gradients: {}}; // and ort, live, classes, weights, forward

async function sessionOf(name) { // of one of the graphs, which share the weights
  return network.ort.InferenceSession.create(await unpacked(network.live.graphs[name]), {
    executionProviders: ['wasm'],
    externalData: [{path: 'weights', data: network.weights}],
  });
}

const tensor = (values, shape) => new network.ort.Tensor('float32', values, shape);

async function run(session, feeds) { // what a graph does not depend on is no input of it
  const inputs = session.inputNames.map(name => [name, feeds[name]]);
  return session.run(Object.fromEntries(inputs));
}

function forward(x) { // (3,h,w) -> logits, and the feature map of each layer
  return run(network.forward, {x: tensor(x, [1, 3, ...network.live.size])});
}

async function start({engine, wasm, weights, live, classes}) {
  const begin = performance.now();
  const tell = (progress, doing) => postMessage({progress, doing});
  tell(.05, 'Unpacking the network.');
  Object.assign(network, {live, classes});
  network.weights = await unpacked(weights);
  const binary = await unpacked(wasm);
  tell(.25, 'Starting the engine that computes it.');
  const source = new Blob([await unpacked(engine)], {type: 'text/javascript'});
  network.ort = await import(URL.createObjectURL(source));
  Object.assign(network.ort.env.wasm, {numThreads: 1, wasmBinary: binary}); // threads need a server
  tell(.4, 'Building the network.');
  network.forward = await sessionOf('forward');
  tell(.8, 'Trying it for the first time.'); // so that the reader's image finds it compiled
  const [h, w] = live.size;
  await forward(new Float32Array(3*h*w));
  tell(1, 'Ready.');
  return {seconds: (performance.now() - begin)/1000};
}

async function look({title, image}) {
  const begin = performance.now(), {live} = network;
  const whole = await decode(image, title);
  const {x, box} = prepared(whole, live.recipe);
  const {logits, ...features} = await forward(x);
  const pixels = shrunk(whole, live.side), {width, height} = pixels;
  const sides = [width, height, width, height];
  network.images.push({features, gradient: {}});
  return {
    n: network.images.length - 1, logits: [...logits.data], pixels,
    box: box ? box.map((v, i) => Math.round(v*sides[i])) : [],
    seconds: (performance.now() - begin)/1000,
  };
}

async function gradientOf(image, layer, target) { // the last one of each image is kept
  const known = image.gradient;
  if (known.layer === layer && known.target === target) return known.g;
  network.gradients[layer] ||= await sessionOf(layer);
  const k = new Float32Array(network.classes);
  k[target] = 1;
  const a = image.features[layer], feeds = {a, k: tensor(k, [1, k.length])};
  const g = (await run(network.gradients[layer], feeds)).g.data;
  image.gradient = {layer, target, g};
  return g;
}

function noteOf(layer, g) {
  if (!g || g.some(v => v)) return '';
  return `The gradient is zero everywhere at layer '${layer}', so this map says nothing about ` +
    'the image: nothing behind it lets the gradient through, such as a dead ReLU or weights of ' +
    'zero: take a later layer or another target.';
}

async function map({n, layer, target, method}) {
  const begin = performance.now();
  const image = network.images[n], {dims: [, c, h, w], data: values} = image.features[layer];
  const g = CLASS_AGNOSTIC.includes(method) ? null : await gradientOf(image, layer, target);
  const made = METHODS[method]({c, h, w, values}, g);
  return {
    h, w, values: Float32Array.from(made), note: noteOf(layer, g),
    agnostic: !g, seconds: (performance.now() - begin)/1000,
  };
}

const JOBS = {start, look, map};
let last = Promise.resolve(); // one job after the other

function answer({data: {id, do: job, ...what}}) {
  last = last.then(() => JOBS[job](what)).then(
    result => postMessage({id, ...result}),
    error => postMessage({id, error: sentence(error)}));
}

function sentence(error) {
  const message = error?.message ?? `the engine says ${error}`; // it may throw a number
  if (!/memory|allocat|bad_alloc|OOM/i.test(message)) return message;
  return `This browser has not enough memory for it (${message}).`;
}

if (typeof module !== 'undefined') module.exports = {METHODS, bytesOf, unpacked}; // in Node
else globalThis.onmessage = answer;
