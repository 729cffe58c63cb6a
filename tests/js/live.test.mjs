// petcam/web/live.js and worker.js without a browser: `node --test tests/js`. tests/test_live.py opens whole pages.
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {test} from 'node:test';
import vm from 'node:vm';
import {gzipSync} from 'node:zlib';

const require = createRequire(import.meta.url), web = new URL('../../petcam/web/', import.meta.url);
const {lacking, seconds} = require('../../petcam/web/live.js');
const {METHODS, bytesOf, unpacked} = require('../../petcam/web/worker.js');
const {doubt, matching} = require('../../petcam/web/explorer.js');

// ---------- browsers ----------

const able = {Worker: 1, DecompressionStream, WebAssembly, createImageBitmap: 1, OffscreenCanvas: 1};

test('a browser that has everything lacks nothing', () => assert.equal(lacking(able), ''));

test('what a browser lacks is named', () => {
  for (const [name, word] of [['Worker', 'background workers'], ['DecompressionStream', 'gzip'], ['WebAssembly', 'WebAssembly'],
    ['createImageBitmap', 'decoding of images'], ['OffscreenCanvas', 'drawing in a worker']]) {
    assert.ok(lacking({...able, [name]: undefined}).includes(word), name);
  }
  const both = lacking({...able, Worker: undefined, OffscreenCanvas: undefined});
  assert.match(both, /^This browser cannot run the network: it lacks background workers, drawing in a worker\. A current/);
});

test('WebAssembly without vectors is not enough; the program that asks is one with a vector instruction', () => {
  let asked;
  const old = {validate: bytes => (asked = bytes, false)};
  assert.match(lacking({...able, WebAssembly: old}), /\(SIMD\)/);
  assert.ok(WebAssembly.validate(asked));
  assert.ok(!WebAssembly.validate(asked.map(v => v === 253 ? 252 : v))); // without the vectors' prefix
});

test('times in words', () => assert.deepEqual([.0449, 3.14159, 12.3].map(seconds), ['0.04 s', '3.14 s', '12 s']));

// ---------- classes ----------

test('a class is found by the beginning of any of its words', () => {
  const names = ['tiger cat', 'Egyptian cat', 'tiger shark', 'St_Bernard', 'café, bar'];
  const found = query => matching(names, query).map(k => names[k]);
  assert.deepEqual(found('cat'), ['tiger cat', 'Egyptian cat']);
  assert.deepEqual(found('CAT tig'), ['tiger cat']);
  assert.deepEqual(found('bern'), ['St_Bernard']);
  assert.deepEqual(found('cafe'), ['café, bar']);
  assert.deepEqual(found('ger'), []); // the middle of a word
  assert.deepEqual(found(' '), names);
});

test('a low probability is said to be one, a high one is not', () => {
  assert.equal(doubt([0, 0, 0, 0, 0, 0, 0, 0], 'softmax'), 'The network is not sure: its most probable class has only 12.5%.');
  assert.equal(doubt([0, 9], 'softmax'), '');
  assert.equal(doubt([-9, -8], 'sigmoid'), ''); // each is a probability of its own
  assert.equal(doubt([1, 2], 'none'), '');
});

// ---------- maps, by hand: two channels, two locations ----------

const a = {c: 2, h: 1, w: 2, values: Float32Array.of(1, 2, 3, -4)}, g = Float32Array.of(1, 3, -2, 4);
const near = (got, want) => want.forEach((v, i) => assert.ok(Math.abs(got[i] - v) < 1e-6, `${[...got]}, expected ${want}`));

test('Grad-CAM: channels weighted by their mean gradient, 2 and 1', () => near(METHODS['Grad-CAM'](a, g), [2*1 + 3, 2*2 - 4]));
test('HiResCAM: activation times gradient', () => near(METHODS.HiResCAM(a, g), [1 - 6, 6 - 16]));
test('LayerCAM: activation times positive gradient', () => near(METHODS.LayerCAM(a, g), [1, 6 - 16]));
test('mean activation', () => near(METHODS['mean activation'](a), [2, -1]));
test('Grad-CAM++: alpha is g^2/(2 g^2 + g^3 sum(a)), 0 where that divides by 0', () => {
  const first = 1/(2 + 3) + 9/(18 + 27*3)*3; // the sums of the channels are 3 and -1
  const second = 16/(32 - 64)*4;
  near(METHODS['Grad-CAM++'](a, g), [first + 3*second, 2*first - 4*second]);
  near(METHODS['Grad-CAM++'](a, new Float32Array(4)), [0, 0]);
});
test('Eigen-CAM: of one channel, the channel itself with a positive sum; of zeros, zeros', () => {
  near(METHODS['Eigen-CAM']({c: 1, h: 1, w: 3, values: Float32Array.of(-3, 1, -2)}), [3, -1, 2]);
  near(METHODS['Eigen-CAM']({c: 2, h: 1, w: 2, values: new Float32Array(4)}), [0, 0]);
  // two orthogonal channels of lengths 5 and 1: the longer one
  near(METHODS['Eigen-CAM']({c: 2, h: 1, w: 2, values: Float32Array.of(3, 4, -.8, .6)}), [3, 4]);
});

// ---------- the worker's script ----------

test('what was packed is unpacked, with and without the browser\'s own decoder of base64', async () => {
  const data = Uint8Array.from({length: 3000}, (_, i) => i*i % 251), text = gzipSync(data).toString('base64');
  assert.deepEqual(await unpacked(text), data);
  const own = Uint8Array.fromBase64;
  try {
    delete Uint8Array.fromBase64;
    assert.deepEqual(bytesOf(text), new Uint8Array(Buffer.from(text, 'base64')));
    Uint8Array.fromBase64 = base64 => Uint8Array.of(base64.length);
    assert.deepEqual(bytesOf('AAAA'), Uint8Array.of(4));
  } finally {
    if (own) Uint8Array.fromBase64 = own;
    else delete Uint8Array.fromBase64;
  }
});

const source = (...names) => names.map(name => readFileSync(new URL(name, web), 'utf8')).join('\n');

test('scripts that stand in one have no name in common, and none ends the block that it stands in', () => {
  for (const names of [['prepare.js', 'worker.js'], ['explorer.js', 'live.js'], ['explorer.js', 'players.js']]) {
    new vm.Script(source(...names));
    assert.doesNotMatch(source(...names), /<\/script|<!--/i);
  }
  assert.throws(() => new vm.Script(source('worker.js', 'worker.js')), SyntaxError);
});

test('jobs are answered in their order, and one that fails answers with a sentence', async () => {
  const answers = [];
  let done;
  const all = new Promise(resolve => { done = resolve; });
  const self = {postMessage: o => answers.push(o) === 4 && done(), performance, Float32Array, Promise, Object, Error};
  vm.createContext(self);
  vm.runInContext(`${source('worker.js')}
    JOBS.slow = ({v}) => new Promise(resolve => resolve({v}));
    JOBS.bad = () => { throw new Error('It has no eyes.'); };
    JOBS.full = () => { throw new Error('std::bad_alloc'); };
    JOBS.odd = () => { throw 1234; };`, self);
  ['slow', 'bad', 'full', 'odd'].forEach((job, id) => self.onmessage({data: {id, do: job, v: 7}}));
  await all;
  assert.deepEqual(JSON.parse(JSON.stringify(answers)), [{id: 0, v: 7}, {id: 1, error: 'It has no eyes.'},
    {id: 2, error: 'This browser has not enough memory for it (std::bad_alloc).'},
    {id: 3, error: 'the engine says 1234'}]);
});
