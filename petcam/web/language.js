"use strict";
// A page in another language: the words that a table knows are replaced where they stand, and when
// a script writes others. The English is kept, so that it can come back.
// First what is said, by the rule of `petcam.language.Catalogue`; then the page.

// ---------- words ----------

const VALUE = /\{(\d+)\}/;
const SAID = /\{(\d+)(\??)\}/g; // `{0?}`: of one word, and yet to be translated
const WITHIN = '((?:(?![.!?]\\s|\\n).)*?)', LAST = '(.*)'; // a value in a sentence, and at its end
const PART = '((?:(?![.!?;:,]\\s|\\n).)*?)'; // one that holds no joint
const JOINTS = [/()(\n+)/g, /([.!?]\)?)(\s+)/g, /()(;\s)/g, /()(:\s)/g, /()(,\s)(?![^()]*\))/g]; // of parts: what stays, what lies between
const MARKS = {'; ': '；', ': ': '：', ', ': '，'}; // and what they are in Chinese
const FEW = 10; // letters of a pattern that says little by itself
const ENGLISH = /[a-z]{2,} [a-z]+ [a-z]{2,}/; // nothing short of a sentence

function patternOf(english, value = WITHIN, last = LAST) { // 'rank {0} of {1}'
  const pieces = english.split(VALUE), fixed = pieces.filter((_, i) => i % 2 === 0);
  const numbers = pieces.filter((_, i) => i % 2), ends = fixed.length - 1;
  const literal = fixed.map(o => o.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const source = literal.reduce((all, o, i) => all + (i === ends && !o ? last : value) + o);
  const longest = fixed.reduce((a, b) => b.length > a.length ? b : a); // for a quick test
  const {length} = fixed.join(''), letters = fixed.join('').replace(/[^A-Za-z]/g, '').length;
  const isVague = letters < FEW && !/[a-z][:.] $/.test(fixed[0]);
  return {english, numbers, longest, letters, length, isVague, expression: new RegExp(`^${source}$`, 's')};
}

function alone(table) { // sentences that follow others, without those
  const follow = Object.entries(table).filter(([english, said]) =>
    /^\{0\} .*\.$/s.test(english) && said.startsWith('{0}'));
  return Object.fromEntries(follow.map(([english, said]) => [english.slice(4), said.slice(3).trimStart()]));
}

function markOf(before, joint) { // in Chinese; no space after a wide mark
  if (joint === ' ' && /[\u3000-\u9fff\uff00-\uffef”]$/.test(before)) return '';
  return MARKS[joint] ?? joint;
}

function translator(table) { // {English: Chinese} -> a function of a text
  const words = new Map(Object.entries({...alone(table), ...table})), kept = new Map();
  const all = [...words.keys()].filter(o => VALUE.test(o)).map(o => patternOf(o));
  all.sort((a, b) => b.letters - a.letters || b.length - a.length);
  const vague = all.filter(o => o.isVague);
  const patterns = all.map(o => o.isVague ? patternOf(o.english, PART, PART) : o);

  function filled(text, candidates) { // by the first that fits, or undefined
    for (const {english, numbers, isVague, longest, expression} of candidates) {
      const found = text.includes(longest) && text.match(expression);
      if (!found) continue;
      const values = Object.fromEntries(numbers.map((n, i) => [n, found[i + 1]]));
      const said = words.get(english).replace(SAID, (_, n, mark) => (mark ? tr : value)(values[n]));
      if (!isVague || !ENGLISH.test(said)) return said;
    }
  }

  const value = text => text.trim().includes(' ') ? tr(text) : text; // a single word may be a name of the reader's
  const known = text => words.get(text) ?? filled(text, patterns); // a whole sentence

  function run(parts) { // the longest known run of parts at the front, of six at most, and its length
    for (let n = Math.min(parts.length, 11); n > 1; n -= 2) {
      const said = known(parts.slice(0, n).join(''));
      if (said !== undefined) return [said, n];
    }
    return [value(parts[0]), 1];
  }

  function joined(text) { // part by part, or undefined: nothing of it is known
    for (const joint of JOINTS) {
      const parts = text.replace(joint, '$1\0$2\0').split('\0');
      if (parts.length === 1) continue;
      let whole = '';
      for (let i = 0; i < parts.length;) {
        const [said, n] = run(parts.slice(i));
        whole += said + markOf(said, parts[i + n] ?? '');
        i += n + 1;
      }
      return /[\u3400-\u9fff]/.test(whole) ? whole : undefined;
    }
  }

  function tr(text) {
    if (!/[A-Za-z]{2}/.test(text)) return text;
    if (!kept.has(text)) {
      const core = text.trim();
      kept.set(text, text.replace(core, () => known(core) ?? joined(core) ?? filled(core, vague) ?? core));
    }
    return kept.get(text);
  }

  return tr;
}

// ---------- the page ----------

const LANGUAGES = {en: {tag: 'en', name: 'English'}, zh: {tag: 'zh-CN', name: '中文'}};
const SPOKEN = ['alt', 'aria-label', 'aria-valuetext', 'placeholder', 'title'];
const SILENT = 'script, style, noscript, code, [translate=no]'; // whose words stay as they are
const isChinese = c => /[\u3000-\u9fff\uff00-\uffef]/.test(c);

// white space beside Chinese goes where words stand on its other side: the table has what is wanted there
function spaced(node, before, said, after) {
  const hasWords = o => o && /\S/.test(o.textContent);
  const isOpen = (end, other) => !isChinese(end) || !hasWords(other);
  return (isOpen(said[0], node.previousSibling) ? before : '') + said +
    (isOpen(said.at(-1), node.nextSibling) ? after : '');
}

// -> a function that says all words of a part of the page in a language, 'en' or 'zh', from now on
function bilingual(root, tr) {
  const kept = new WeakMap(); // node -> {'' or an attribute: its English, and what stands there}
  let language = 'en';

  function inChinese(node, english) {
    const [, before, core, after] = english.match(/^(\s*)(.*?)(\s*)$/s);
    const words = core.replace(/\s+/g, ' '), said = tr(words);
    return said === words ? english : spaced(node, before, said, after);
  }

  function say(node, name = '') { // its text, or one of its attributes
    const now = name ? node.getAttribute(name) : node.data;
    if (!now) return;
    if (!kept.has(node)) kept.set(node, {});
    const own = kept.get(node);
    if (own[name]?.shown !== now) own[name] = {english: now}; // a script has written it
    const {english} = own[name], shown = language === 'en' ? english : inChinese(node, english);
    own[name].shown = shown;
    if (shown === now) return;
    if (name) node.setAttribute(name, shown);
    else node.data = shown;
  }

  function sayAll(node) {
    if (node.nodeType === node.TEXT_NODE) return say(node);
    if (node.nodeType !== node.ELEMENT_NODE || node.matches(SILENT)) return;
    for (const name of SPOKEN) say(node, name);
    node.childNodes.forEach(sayAll);
  }

  function hear({type, target, attributeName, addedNodes}) { // what a script has changed
    const element = target.nodeType === target.TEXT_NODE ? target.parentNode : target;
    if (!element || element.closest(SILENT)) return;
    if (type === 'childList') addedNodes.forEach(sayAll);
    else say(target, attributeName ?? '');
  }

  new MutationObserver(changes => changes.forEach(hear)).observe(root, {
    subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: SPOKEN});
  return chosen => {
    language = chosen;
    root.lang = LANGUAGES[chosen].tag;
    sayAll(root);
  };
}

// the block that templates/words.html makes: it speaks for what stands beside it, and where there is
// a button for the language, for the whole page
function openWords(block) {
  if (block.isOpen) return;
  block.isOpen = true;
  const button = block.parentNode.querySelector('.px-language');
  const {table, language} = JSON.parse(block.textContent);
  const say = bilingual(button ? document.documentElement : block.parentNode, translator(table));
  if (!button) return document.querySelector('.px-language') ? null : say(language);
  const show = chosen => {
    const other = chosen === 'zh' ? 'en' : 'zh', {tag, name} = LANGUAGES[other];
    Object.assign(button, {textContent: name, lang: tag, hidden: false, onclick: () => show(other)});
    say(chosen);
  };
  show(location.hash === '#zh' ? 'zh' : language);
}

if (typeof module !== 'undefined') module.exports = {translator, openWords}; // in Node, for the tests
