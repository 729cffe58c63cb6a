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
    'A current Chrome, Edge, Firefox or Safari can.';
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
  let stopped = null;
  worker.onmessage = ({data: {id, error, ...result}}) => {
    if (id === undefined) return progress(result);
    if (error) waiting[id].reject(new Error(error));
    else waiting[id].resolve(result);
  };
  worker.onerror = event => {
    event.preventDefault(); // it is said in the page
    stopped = new Error(`The network's worker has stopped (${event.message || 'no reason given'}).`);
    waiting.forEach(({reject}) => reject(stopped));
  };
  return (job, what) => new Promise((resolve, reject) => {
    if (stopped) throw stopped;
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

function receive(el, take) { // calls take([{title, image: Blob}])
  const files = list => [...list].map(image => ({title: image.name || 'your image', image}));
  for (const name of ['files', 'picture']) {
    el(name).onchange = () => {
      take(files(el(name).files));
      el(name).value = ''; // the same file may be chosen again
    };
  }
  el('choose').onclick = () => el('files').click();
  document.addEventListener('paste', ({clipboardData}) => {
    if (clipboardData.files.length) take(files(clipboardData.files));
  });
  const over = on => el('own').classList.toggle('px-dropping', on);
  const takes = ({types}) => types.includes('Files') || types.includes('text/uri-list');
  document.addEventListener('dragover', event => {
    if (!takes(event.dataTransfer)) return; // a word, for instance
    event.preventDefault();
    over(true);
  });
  document.addEventListener('dragleave', ({relatedTarget}) => over(!!relatedTarget));
  document.addEventListener('drop', event => {
    over(false);
    if (!takes(event.dataTransfer)) return;
    event.preventDefault();
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
  };
  el('camera').hidden = !phone && !mediaDevices?.getUserMedia;
  el('camera').onclick = async () => {
    if (phone) return el('picture').click();
    stop();
    try {
      video.srcObject = await mediaDevices.getUserMedia({video: {facingMode: 'environment'}});
      el('view').hidden = false;
      await video.play();
      el('shutter').focus();
    } catch ({message}) {
      stop();
      complain(`The camera cannot be used: ${message}.`);
    }
  };
  el('shutter').onclick = () => {
    const {videoWidth: width, videoHeight: height} = video;
    if (!width) return; // it shows nothing yet
    const canvas = Object.assign(document.createElement('canvas'), {width, height});
    canvas.getContext('2d').drawImage(video, 0, 0);
    canvas.toBlob(image => take([{title: 'camera', image}]), 'image/png');
    stop();
    el('camera').focus();
  };
  el('stop').onclick = () => {
    stop();
    el('camera').focus();
  };
}

// ---------- the page ----------

const ROOM = 60; // images whose feature maps are kept

async function openLive(root) { // the section that templates/live.html makes
  const el = name => root.querySelector(`.px-${name}`);
  const complain = problem => {
    el('problem').textContent = problem;
  };
  const giveUp = problem => {
    for (const name of ['progress', 'status', 'offer']) el(name).remove();
    complain(`${problem} Below is a still image.`);
  };
  const data = JSON.parse(root.querySelector('[type="application/json"]').textContent);
  const {live, class_names: {length: classes}} = data;
  el('note').textContent = live.note;
  el('classes').textContent = classes;
  const unable = lacking(globalThis);
  if (unable) return giveUp(unable);

  let next = '', status = ''; // what waits while the network loads; what is said
  const tell = words => {
    status = words;
    el('status').textContent = words;
  };
  const ask = connect(textOf(root, 'worker'), ({progress, doing}) => {
    el('progress').value = progress;
    tell(doing + next);
  });
  const [engine, wasm, weights] = ['engine', 'wasm', 'weights'].map(name => textOf(root, name));
  const ready = ask('start', {engine, wasm, weights, live, classes});
  root.petcam = {ask, ready};

  async function seen({title, image, src}) { // what the network makes of it
    const before = status;
    tell(`Looking at ${title} …`);
    try {
      const found = await ask('look', {title, image: image || blobOf(src)});
      tell(`Looked at ${title} in ${seconds(found.seconds)}.`);
      return {...found, title, src: src || smallUri(found.pixels)};
    } catch (error) {
      tell(before);
      throw error;
    }
  }

  async function take(given) { // the reader's images; the first that can be read is shown
    next = ' Your image comes next.';
    if (!await ready.catch(() => null)) return; // it has been said
    const problems = new Set(), {images} = root.petcam.data;
    if (!given.length) problems.add('That was no file: save the image, and drop its file here.');
    let some = false;
    for (const one of given) {
      try {
        if (images.length >= ROOM) {
          throw new Error(`There is room for ${ROOM} images: load the page again for others.`);
        }
        root.petcam.add(await seen(one), !some);
        some = true;
      } catch ({message}) {
        problems.add(message);
      }
    }
    complain([...problems].join(' '));
  }

  receive(el, take);
  camera(el, take, complain);
  try {
    await ready;
  } catch ({message}) {
    return giveUp(`The network could not be started: ${message}`);
  }
  el('progress').remove();
  const look = one => seen(one).catch(error => {
    complain(error.message);
    throw error;
  });
  explore(root, {look, map: ({n}, layer, target, method) => ask('map', {n, layer, target, method})})
    .catch(() => {}); // it has been said
}

if (typeof module !== 'undefined') module.exports = {lacking, seconds, openLive}; // in Node, for the tests
