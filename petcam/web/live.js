"use strict";
// A page with the network in it: the reader's own images, and the worker that computes.
// It needs explorer.js:
/* global bytes, explore, Worker */

const NEEDED = { // by the page, and what each is to a reader
  Worker: 'background workers', DecompressionStream: 'unpacking of gzip',
  WebAssembly: 'WebAssembly', createImageBitmap: 'decoding of images in a worker',
  OffscreenCanvas: 'drawing in a worker',
};
// the smallest program with a vector instruction: () => i8x16.popcnt(i8x16.splat(0))
const VECTORS = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0,
  65, 0, 253, 15, 253, 98, 11];

function lacking(browser) { // words for what this browser cannot do, or ''
  const names = Object.keys(NEEDED).filter(name => !browser[name]);
  const words = names.map(name => NEEDED[name]);
  const {WebAssembly} = browser;
  if (WebAssembly && !WebAssembly.validate(Uint8Array.from(VECTORS))) {
    words.push('WebAssembly with vector instructions (SIMD)');
  }
  if (!words.length) return '';
  return `This browser cannot run the network: it lacks ${words.join(', ')}. ` +
    'A current Chrome, Edge, Firefox or Safari can. Below is a still image.';
}

const seconds = s => s < 10 ? `${s.toFixed(2)} s` : `${Math.round(s)} s`;

function textOf(root, name) { // of one of the page's blocks, which then need no memory here
  const block = root.querySelector(`.px-${name}`), text = block.textContent;
  block.remove();
  return text;
}

function connect(script, progress) { // a worker -> ask(job, what) -> promise of its answer
  const worker = new Worker(URL.createObjectURL(new Blob([script], {type: 'text/javascript'})));
  const waiting = [];
  worker.onmessage = ({data: {id, error, ...result}}) => {
    if (id === undefined) return progress(result);
    if (error) waiting[id].reject(new Error(error));
    else waiting[id].resolve(result);
  };
  worker.onerror = event => {
    const error = new Error(`The network's worker has stopped (${event.message || 'no reason given'}).`);
    waiting.forEach(({reject}) => reject(error));
  };
  return (job, what) => new Promise((resolve, reject) => {
    const id = waiting.push({resolve, reject}) - 1;
    worker.postMessage({id, do: job, ...what});
  });
}

function blobOf(uri) { // a data URI's bytes
  const [head, base64] = uri.split(',');
  return new Blob([bytes(base64)], {type: head.slice(5).split(';')[0]});
}

function smallUri({width, height, data}) { // pixels as an address for a thumbnail
  const canvas = Object.assign(document.createElement('canvas'), {width, height});
  canvas.getContext('2d').putImageData(new ImageData(data, width, height), 0, 0);
  return canvas.toDataURL('image/jpeg', .85);
}

// ---------- where images come from: files, the clipboard, the camera ----------

function receive(el, take) { // calls take([{image: Blob, title}])
  const files = list => [...list].map(image => ({image, title: image.name || 'pasted'}));
  for (const name of ['files', 'picture']) {
    el(name).onchange = () => {
      take(files(el(name).files));
      el(name).value = ''; // the same file may be chosen again
    };
  }
  el('choose').onclick = () => el('files').click();
  document.addEventListener('paste', event => {
    if (event.clipboardData.files.length) take(files(event.clipboardData.files));
  });
  document.addEventListener('dragover', event => {
    event.preventDefault();
    el('own').classList.add('px-over-it');
  });
  document.addEventListener('dragleave', event => {
    if (!event.relatedTarget) el('own').classList.remove('px-over-it');
  });
  document.addEventListener('drop', event => {
    event.preventDefault();
    el('own').classList.remove('px-over-it');
    take(files(event.dataTransfer.files));
  });
}

function camera(el, take, complain) {
  const video = el('view').querySelector('video'), {mediaDevices} = navigator;
  const phone = matchMedia('(pointer: coarse)').matches; // it has an app for that
  const stop = () => {
    video.srcObject?.getTracks().forEach(track => track.stop());
    video.srcObject = null;
    el('view').hidden = true;
    el('camera').focus();
  };
  el('camera').hidden = !phone && !mediaDevices?.getUserMedia;
  el('camera').onclick = async () => {
    if (phone) return el('picture').click();
    try {
      video.srcObject = await mediaDevices.getUserMedia({video: {facingMode: 'environment'}});
      el('view').hidden = false;
      await video.play();
      el('shutter').focus();
    } catch ({message}) {
      complain(`The camera cannot be used: ${message}.`);
    }
  };
  el('shutter').onclick = () => {
    const {videoWidth: width, videoHeight: height} = video;
    const canvas = Object.assign(document.createElement('canvas'), {width, height});
    canvas.getContext('2d').drawImage(video, 0, 0);
    canvas.toBlob(image => take([{image, title: 'camera'}]), 'image/png');
    stop();
  };
  el('stop').onclick = stop;
}

// ---------- the page ----------

async function run(root) { // the section that templates/live.html makes
  const el = name => root.querySelector(`.px-${name}`);
  const say = (text, problem = '') => {
    el('status').textContent = text;
    el('problem').textContent = problem;
  };
  const fail = error => {
    el('progress').remove();
    say('', error);
  };
  const unable = lacking(globalThis);
  if (unable) return fail(unable);

  const data = JSON.parse(root.querySelector('[type="application/json"]').textContent);
  const ask = connect(textOf(root, 'worker'), ({progress, doing}) => {
    el('progress').value = progress;
    el('status').textContent = doing;
  });
  const [engine, wasm, weights] = ['engine', 'wasm', 'weights'].map(name => textOf(root, name));
  try {
    const {live, class_names: {length: classes}} = data;
    const ready = await ask('start', {engine, wasm, weights, live, classes});
    say(`The network was ready after ${seconds(ready.seconds)}.`);
  } catch ({message}) {
    return fail(`The network could not be started: ${message} Below is a still image.`);
  }
  el('progress').remove();

  async function look({title, image, src}) {
    el('status').textContent = `Looking at ${title} …`;
    try {
      const seen = await ask('look', {image: image || blobOf(src)});
      say(`Looked at ${title} in ${seconds(seen.seconds)}.`);
      return {...seen, src: src || smallUri(seen.pixels)};
    } catch (error) {
      say('', error.message);
      throw error;
    }
  }

  async function take(given) {
    if (!given.length) say('', 'That was no file: save the image first, then drop the file here.');
    for (const one of given) {
      await look(one).then(seen => root.petcam.add({title: one.title, ...seen}), () => {});
    }
  }

  const map = ({n}, layer, target, method) => ask('map', {n, layer, target, method});
  await explore(root, {look, map});
  el('offer').hidden = false;
  receive(el, take);
  camera(el, take, message => say('', message));
}

if (typeof module !== 'undefined') module.exports = {lacking, seconds}; // in Node, for the tests
