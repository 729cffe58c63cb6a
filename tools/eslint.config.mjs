// What eslint looks for in our scripts; the browser's names that a page may use are listed, so that a misspelt one is found
const browser = ['window', 'document', 'console', 'navigator', 'location', 'Image', 'ImageData', 'Event', 'CustomEvent', 'URL', 'Blob',
  'fetch', 'atob', 'btoa', 'performance', 'requestAnimationFrame', 'cancelAnimationFrame', 'setTimeout', 'clearTimeout',
  'getComputedStyle', 'matchMedia', 'devicePixelRatio', 'IntersectionObserver', 'ResizeObserver', 'MutationObserver', 'HTMLElement',
  'createImageBitmap', 'OffscreenCanvas', 'structuredClone', 'queueMicrotask', 'TextDecoder', 'DecompressionStream', 'Response',
  'globalThis', 'module', 'exports'];   // the last two: a script that a test in Node loads

export default [{
  files: ['**/*.js'],
  languageOptions: { ecmaVersion: 2022, sourceType: 'script', globals: Object.fromEntries(browser.map(name => [name, 'readonly'])) },
  rules: {
    'no-undef': 'error',          // a name that does not exist
    'no-unused-vars': ['error', { varsIgnorePattern: '^petcam' }],  // what Python calls by name
    'no-redeclare': 'error',
    'no-dupe-keys': 'error',
    'no-unreachable': 'error',
    'no-var': 'error',            // it leaks out of its block
    'prefer-const': ['error', { destructuring: 'all' }],
    'eqeqeq': ['error', 'always', { null: 'ignore' }],
  },
}];
