// petcam/web/explorer.js without a browser: `node --test tests/js`.
// The second half compares it with petcam itself; tests/test_explore.py computes the cases and names their file in PETCAM_CASES.
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {test} from 'node:test';

const js = createRequire(import.meta.url)('../../petcam/web/explorer.js');
const near = (got, want, tolerance) => {
  assert.equal(got.length, want.length);
  want.forEach((v, i) => assert.ok(Math.abs(got[i] - v) <= tolerance, `${i}: ${got[i]}, expected ${v}`));
};
const map = (h, w, values) => ({h, w, values: Float32Array.from(values)});

// ---------- by hand ----------

test('two maps of two bytes each', () => {
  const packed = {h: 1, w: 2, lo: [-1, 0], hi: [1, 51], maps: Buffer.from([0, 255, 5, 10]).toString('base64')};
  assert.deepEqual([...js.unpack(packed, 0).values], [-1, 1]);
  assert.deepEqual(js.unpack(packed, 1), map(1, 2, [1, 2]));
});

test('a map that is the same for every class', () => {
  const packed = {h: 1, w: 1, lo: [3], hi: [3], maps: Buffer.from([0]).toString('base64')};
  for (const target of [0, 1, 36]) assert.deepEqual([...js.unpack(packed, target).values], [3]);
});

test('two locations over four pixels', () => {
  near(js.upsample(map(1, 2, [0, 4]), 1, 4), [0, 1, 3, 4], 1e-6);
  near(js.upsample(map(2, 1, [0, 4]), 4, 1), [0, 1, 3, 4], 1e-6);
});

test('softmax of large logits, sigmoids, and scores as they are', () => {
  near(js.probabilities([1000, 1000], 'softmax'), [.5, .5], 1e-12);
  near(js.probabilities([0, 1000, -1000], 'sigmoid'), [.5, 1, 0], 1e-12);
  assert.deepEqual(js.probabilities([58, -1], 'none'), [58, -1]);
});

test('one square for each location', () => {
  assert.deepEqual([...js.nearest(map(1, 2, [1, 2]), 2, 4)], [1, 1, 2, 2, 1, 1, 2, 2]);
});

test('what is drawn in a box stands there, and the rest is grey and dark; a box may reach beyond', () => {
  const image = js.blank(3, 2, 200), white = ({width, height}) => js.blank(width, height, 255).data;
  const rest = Math.floor(.45*200 + 20);
  const red = o => [...o.data].filter((_, i) => i % 4 === 0);
  assert.deepEqual(red(js.inPlace(image, [1, 0, 2, 2], white)), [rest, 255, rest, rest, 255, rest]);
  assert.deepEqual(red(js.inPlace(image, [], white)), Array(6).fill(255));
  const seen = [];
  const wide = js.inPlace(image, [-1, 1, 2, 3], part => (seen.push(red(part)), part.data));
  assert.deepEqual(seen[0], [128, 200, 200, 128, 128, 128]);
  assert.deepEqual(red(wide), [rest, rest, rest, 200, 200, rest]);
});

test('rank', () => assert.deepEqual([0, 1, 2].map(k => js.rankOf([3, 5, 3], k)), [2, 1, 2]));

test('colours: nothing at zero, all of the colour at the limit', () => {
  const table = new Uint8Array(3*256);
  table.set([0, 0, 255], 3*25); // negative
  table.set([255, 0, 0], 3*230); // positive
  const full = {alpha: 1, signed: true, limit: 2}, pixel = [10, 20, 30, 255];
  const over = (values, colours) => [...js.paint(values, values.flatMap(() => pixel), table, colours)];
  assert.deepEqual(over([2, -2, 0, 9], full), [255, 0, 0, 255, 0, 0, 255, 255, ...pixel, 255, 0, 0, 255]);
  assert.deepEqual(over([0, 1], {alpha: 0, signed: false, limit: 2}), [...pixel, ...pixel]);
});

test('half of the strongest value covers .5**.7 of the pixel, in grey under a signed map', () => {
  const table = new Uint8Array(3*256), under = [0, 100, 0, 255], cover = .5**.7; // the colours are black
  const [red, green] = js.paint([1], under, table, {alpha: 1, signed: true, limit: 2});
  const grey = .587*100, fade = Math.sqrt(cover);
  near([red, green], [grey*fade*(1 - cover), (100 + (grey - 100)*fade)*(1 - cover)], .51);
  near(js.paint([1], under, table, {alpha: .5, signed: false, limit: 2}), [0, 100*(1 - cover/2), 0, 255], .51);
});

test('the map alone: every value has its colour of the table', () => {
  const table = Uint8Array.from({length: 3*256}, (_, i) => Math.floor(i/3));
  const reds = (values, signed) => [...js.shade(values, table, {signed, limit: 2})].filter((_, i) => i % 4 === 0);
  assert.deepEqual(reds([-2, 0, 1, 2, 9], true), [0, 128, 192, 255, 255]);
  assert.deepEqual(reds([0, 1, 2], false), [0, 128, 255]);
});

test('the legend goes from the lowest colour to the highest', () => {
  const table = Uint8Array.from({length: 3*256}, (_, i) => Math.floor(i/3));
  const colours = js.legend(table);
  assert.ok(colours.startsWith('linear-gradient(90deg, rgb(0,0,0)') && colours.endsWith('rgb(255,255,255))'), colours);
});

// ---------- against petcam ----------

const file = process.env.PETCAM_CASES;
const cases = file ? JSON.parse(readFileSync(file, 'utf8')) : {};
const compared = (name, f) => test(`${name}, as petcam has it`, {skip: !file && 'PETCAM_CASES names no file'}, () => {
  assert.ok(cases[name].length);
  cases[name].forEach(f);
});

compared('unpack', ({packed, target, values}) => near(js.unpack(packed, target).values, values, 1e-6));
compared('upsample', ({h, w, values, H, W, large}) => near(js.upsample(map(h, w, values), H, W), large, 1e-4));
compared('overlay', ({h, w, values, H, W, under, table, colours, pixels}) => {
  const large = js.upsample(map(h, w, values), H, W);
  const painted = js.paint(large, Uint8ClampedArray.from(under), js.bytes(table), colours);
  near(painted, pixels, 5); // a value at the edge of two colours of the table may get either
  const off = pixels.filter((v, i) => Math.abs(v - painted[i]) > 1).length;
  assert.ok(off <= pixels.length/20, `${off} of ${pixels.length}`);
});
compared('nearest', ({h, w, values, H, W, squares}) => near(js.nearest(map(h, w, values), H, W), squares, 0));
compared('inPlace', ({width, height, data, box, pixels}) => {
  const image = {width, height, data: Uint8ClampedArray.from(data)};
  near(js.inPlace(image, box, part => part.data.map((v, i) => i % 4 === 3 ? 255 : 255 - v)).data, pixels, 1);
});
compared('probabilities', ({logits, activation, p}) => near(js.probabilities(logits, activation), p, 1e-6));
compared('fixed', ({v, digits, text}) => assert.equal(js.fixed(v, digits), text));
compared('describe', ({h, w, values, text}) => assert.equal(js.describe(map(h, w, values)), text));
compared('verdict', ({logits, target, names, activation, text}) => assert.equal(js.verdict(logits, target, names, activation), text));
compared('words', ({text, h, w, values, ...now}) => assert.equal(js.words({...now, map: map(h, w, values)}), text));
