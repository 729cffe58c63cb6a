// petcam/web/players.js without a browser, by hand; tests/test_players.py compares it with petcam's own.
import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import {test} from 'node:test';

const js = createRequire(import.meta.url)('../../petcam/web/players.js');

test('two digits, as Python writes them', () => {
  const cases = {'0': 0, '0.01': .01, '0.0004': .0004, '1e-05': 1e-5, '5.1e-06': 5.13e-6, '0.95': .95, '1e+02': 100, '12': 12};
  for (const [words, value] of Object.entries(cases)) assert.equal(js.general(value), words);
});

test('a quantile lies between two values', () => {
  assert.equal(js.quantile([4, 1, 3, 2], .5), 2.5);
  assert.equal(js.quantile([7], .995), 7);
});

test('nine numbers over an image of one bright pixel: the kernel, rotated, three times', () => {
  const data = new Uint8ClampedArray(4*25);
  data.fill(255, 4*12, 4*13);
  const nine = [1, 2, 3, 4, 5, 6, 7, 8, 9];
  assert.deepEqual(js.convolve({width: 5, height: 5, data}, nine), {h: 3, w: 3, values: Float64Array.from(nine.toReversed(), v => 3*v)});
});

test('a cycle begins at a fraction, is highest at its peak, and ends near zero', () => {
  const {rates: [head], momenta} = js.oneCycle(10, [1], 25, .5);
  assert.ok(Math.abs(head[0] - .04) < 1e-12 && head[5] === 1 && head[9] < .1);
  assert.ok(Math.abs(momenta[5] - .85) < 1e-12 && momenta[0] === .95);
});
