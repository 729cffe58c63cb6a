// petcam/web/prepare.js without a browser: `node --test tests/js`. tests/test_prepare.py compares it with Pillow and torch.
import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import {test} from 'node:test';

const js = createRequire(import.meta.url)('../../petcam/web/prepare.js');
const grey = (width, ...values) => ({width, height: values.length/width, data: Uint8ClampedArray.from(values.flatMap(v => [v, v, v, 255]))});
const reds = ({data}) => [...data].filter((_, i) => i % 4 === 0);
const imagenet = {mean: [.485, .456, .406], std: [.229, .224, .225]};
const plain = {kind: 'recipe', mean: [0, 0, 0], std: [1, 1, 1], interpolation: 'bilinear', crop_mode: 'center'};
const square = n => ({size: [n, n], resized: [n, n]});

test("a half is rounded to the even number, as in Python", () => {
  assert.deepEqual([.5, 1.5, 2.5, 2.4, 2.6, -1].map(js.rounded), [0, 2, 2, 2, 3, -1]);
});

test('two pixels become four, and one', () => {
  assert.deepEqual(reds(js.resize(grey(2, 0, 100), 4, 1, 'bilinear')), [0, 25, 75, 100]);
  assert.deepEqual(reds(js.resize(grey(2, 0, 101), 1, 1, 'box')), [51]);
  assert.deepEqual(reds(js.resize(grey(2, 0, 100), 4, 1, 'nearest')), [0, 0, 100, 100]);
  assert.deepEqual(reds(js.resize(grey(1, 0, 100), 1, 4, 'bilinear')), [0, 25, 75, 100]);
});

test('sharp filters stop at black and white', () => {
  const wide = js.resize(grey(4, 0, 0, 255, 255), 16, 1, 'lanczos');
  assert.equal(Math.min(...reds(wide)), 0);
  assert.equal(Math.max(...reds(wide)), 255);
  assert.ok(wide.data.every((v, i) => i % 4 < 3 || v === 255)); // opaque
});

test('an image of the right size stays what it is', () => {
  const image = grey(2, 1, 2, 3, 4);
  assert.equal(js.resize(image, 2, 2, 'bicubic'), image);
  assert.equal(js.shrunk(image, 2), image);
});

test('what is left at the edge is a mean of fewer pixels', () => {
  assert.deepEqual(reds(js.reduce(grey(3, 0, 2, 9, 4, 6, 11), 2)), [3, 10]);
});

test('at most so many pixels, and no image is enlarged', () => {
  const {width, height} = js.shrunk(grey(4, ...Array(8).fill(7)), 2);
  assert.deepEqual([width, height], [2, 1]);
});

test('the middle of a wide image, and where it was', () => {
  const {x, box} = js.prepared(grey(5, 0, 51, 102, 153, 255), {...plain, ...square(1)});
  assert.deepEqual([...x], Array(3).fill(Math.fround(.4)));
  assert.deepEqual(box, [.4, 0, .6, 1]);
  assert.deepEqual(js.prepared(grey(4, 0, 51, 102, 255), {...plain, ...square(1)}).box, [.5, 0, .75, 1]); // from 1.5, rounded
});

test('an image that is all seen has no box', () => {
  assert.equal(js.prepared(grey(2, 1, 2, 3, 4), {...plain, ...square(2)}).box, null);
});

test('a cut that is larger than the image: 0 beyond it, after normalising', () => {
  const {x, box} = js.prepared(grey(1, 255), {...plain, ...imagenet, size: [1, 3], resized: [1, 1]});
  assert.deepEqual([...x].map(v => v > 0), [0, 1, 0, 0, 1, 0, 0, 1, 0].map(Boolean));
  assert.ok([0, 2].every(i => x[i] === 0));
  assert.deepEqual(box, [-1, 0, 2, 1]);
});

test('a border round the whole image; other proportions', () => {
  const image = grey(4, ...Array(8).fill(255));
  const border = js.prepared(image, {...plain, ...square(2), crop_mode: 'border'});
  assert.deepEqual([...border.x.slice(0, 4)], [1, 1, 0, 0]);
  assert.deepEqual(border.box, [0, 0, 1, 2]);
  const squash = js.prepared(image, {...plain, ...square(2), crop_mode: 'squash'});
  assert.deepEqual([...squash.x], Array(12).fill(1));
  assert.equal(squash.box, null);
});

test("a learner's square", () => {
  const {x, box} = js.prepared(grey(4, 0, 51, 102, 255, 0, 51, 102, 255), {kind: 'square', size: 2, mean: [0, 0, 0], std: [1, 1, 1]});
  assert.deepEqual([...x.slice(0, 4)], [.2, .4, .2, .4].map(Math.fround));
  assert.deepEqual(box, [.25, 0, .75, 1]);
});

test('an image that would become nothing', () => {
  assert.throws(() => js.prepared(grey(9, ...Array(9).fill(1)), {...plain, ...square(2), crop_mode: 'border'}), /2 x 0 pixels; expected at least one/);
});
