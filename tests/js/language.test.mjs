// petcam/web/language.js without a browser: `node --test tests/js`. tests/test_language_page.py holds petcam.language to the same cases,
// and opens pages.
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {test} from 'node:test';

const {translator} = createRequire(import.meta.url)('../../petcam/web/language.js');
const {table, cases} = JSON.parse(readFileSync(new URL('language.json', import.meta.url), 'utf8'));

for (const [english, chinese] of cases) {
  test(`'${english}', as petcam says it`, () => assert.equal(translator(table)(english), chinese));
}

test('what has been said once is said the same again', () => {
  const tr = translator(table);
  for (let i = 0; i < 2; i++) for (const [english, chinese] of cases) assert.equal(tr(english), chinese);
});

test('of two patterns the one with more words of its own', () => {
  const both = {'{0} of {1}': '短{0}', 'row {0} of {1}': '长{0}'};
  assert.equal(translator(both)('row 1 of 2'), '长1');
  assert.equal(translator(both)('column 1 of 2'), '短column 1');
});
