// petcam/web/exercises.js without a browser: `node --test tests/js`.
import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import {test} from 'node:test';

const {asNumber, check} = createRequire(import.meta.url)('../../petcam/web/exercises.js');
const size = {kind: 'number', right: [176, 176], hints: [[348, 348, 'no padding'], [340, 360, 'no stride']], otherwise: 'the formula', why: 'half.'};
const sum = {kind: 'choice', right: 'b', options: {a: 'x', b: 'y'}, hints: {a: 'add up'}, why: 'zero.'};

test('numbers as people write them', () => {
  const cases = {'176': 176, ' 2,5 ': 2.5, '8 %': 8, '1/37': 1/37, '-.5': -.5, '\u22123': -3, '1e-2': .01, '3.': 3};
  for (const [text, value] of Object.entries(cases)) assert.equal(asNumber(text), value, text);
  for (const text of ['', 'many', '1 2', '1/', '0x10', '1.2.3', '--1']) assert.ok(Number.isNaN(asNumber(text)), text);
});

test('a number: right, a hint for it, a hint for a range, any other', () => {
  assert.deepEqual(check(size, '176'), {right: true, words: 'Right. half.'});
  assert.deepEqual(check(size, '348'), {right: false, words: 'Not yet: no padding'});
  assert.deepEqual(check(size, '350.5'), {right: false, words: 'Not yet: no stride'});
  assert.deepEqual(check(size, '177'), {right: false, words: 'Not yet: the formula'});
  for (const text of ['1/0', 'many']) assert.deepEqual(check(size, text), {right: false, words: 'Not yet: a number is asked for.'});
});

test('a choice', () => {
  assert.deepEqual(check(sum, 'b'), {right: true, words: 'Right. zero.'});
  assert.deepEqual(check(sum, 'a'), {right: false, words: 'Not yet: add up'});
});

test('no answer', () => {
  for (const exercise of [size, sum]) assert.deepEqual(check(exercise, ''), {right: false, words: 'Not answered yet.'});
});
