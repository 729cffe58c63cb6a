// petcam/web/convolution.js by hand; the lesson on kernels compares it with torch's conv2d.
import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import {test} from 'node:test';

const {convolution} = createRequire(import.meta.url)('../../petcam/web/convolution.js');

test('nine numbers slide over four rows and five columns', () => {
  const image = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14], [15, 16, 17, 18, 19]];
  const kernel = [[1, 0, 0], [0, 0, 0], [0, 0, 10]];
  assert.deepEqual(convolution([image], [[kernel]]), [[[120, 131, 142], [175, 186, 197]]]);
});

test('each kernel adds up all channels, and is not rotated', () => {
  const image = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]];
  const first = [[[1, 0], [0, 0]], [[0, 0], [0, 1]]], second = [[[0, 1], [0, 0]], [[0, 0], [0, -1]]];
  assert.deepEqual(convolution(image, [first, second]), [[[1 + 8]], [[2 - 8]]]);
});

test('a stride of two leaves out what does not fit', () => {
  const line = [[[1, 2, 3, 4, 5, 6]]], kernel = [[[[1, 1, 1]]]];
  assert.deepEqual(convolution(line, kernel, 2), [[[6, 12]]]);
  assert.deepEqual(convolution(line, kernel, 3), [[[6, 15]]]);
  assert.deepEqual(convolution([[[1, 2]]], kernel), [[[]]]);
});
