// The exercises of a lesson's page: a number or a choice is checked as in the notebook.
(() => {
'use strict';

function asNumber(text) { // '176', '2,5', '8 %' or '1/37'; NaN: it is none
  const one = String.raw`[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?`;
  const pattern = new RegExp(String.raw`^(${one})\s*(?:/\s*(${one}))?\s*%?$`, 'i');
  const found = text.trim().replace('\u2212', '-').replace(',', '.').match(pattern);
  return found ? Number(found[1])/Number(found[2] ?? 1) : NaN;
}

function hintForNumber(exercise, text) {
  const answer = asNumber(text);
  if (!Number.isFinite(answer)) return 'a number is asked for.';
  const fits = ([low, high]) => low <= answer && answer <= high;
  if (fits(exercise.right)) return null;
  const hint = exercise.hints.find(fits);
  return hint ? hint[2] : exercise.otherwise;
}

function hintForChoice(exercise, letter) {
  return letter === exercise.right ? null : exercise.hints[letter];
}

function check(exercise, answer) { // -> is it right, and what is said
  if (!answer || !answer.trim()) return {right: false, words: 'Not answered yet.'};
  const hint = (exercise.kind === 'choice' ? hintForChoice : hintForNumber)(exercise, answer);
  if (hint === null) return {right: true, words: `Right. ${exercise.why}`};
  return {right: false, words: `Not yet: ${hint}`};
}

function ask(form, changed) { // checks the form's answer when it is sent
  const exercise = JSON.parse(form.dataset.exercise);
  form.hidden = false;
  form.addEventListener('submit', event => {
    event.preventDefault();
    const {right, words} = check(exercise, form.elements.answer.value);
    form.querySelector('[role=status]').textContent = words;
    form.dataset.right = right;
    changed();
  });
}

function start() {
  const forms = [...document.querySelectorAll('form.pc-exercise')];
  const progress = document.querySelector('.pc-exercise-progress span');
  const count = () => {
    const right = forms.filter(form => form.dataset.right === 'true').length;
    if (progress) progress.textContent = `Exercises on this page: ${right} of ${forms.length} right.`;
  };
  for (const form of forms) ask(form, count);
  if (forms.length) count();
}

if (typeof module !== 'undefined') module.exports = {asNumber, check}; // in Node, for the tests
else start();
})();
