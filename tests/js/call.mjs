// Calls functions of a file of petcam/web: `node call.mjs FILE.js CASES.json`. CASES: [[name, argument, ...], ...], answers as JSON.
// Bytes and numbers travel as {bytes: base64} and {floats: base64}.
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';

const [file, cases] = process.argv.slice(2);
const js = createRequire(import.meta.url)(file);
const buffer = base64 => new Uint8Array(Buffer.from(base64, 'base64')).buffer;
const revive = (_, o) => o?.bytes ? new Uint8ClampedArray(buffer(o.bytes)) : o?.floats ? new Float32Array(buffer(o.floats)) : o;
const packed = o => Buffer.from(o.buffer, o.byteOffset, o.byteLength).toString('base64');
const pack = (_, o) => o instanceof Float32Array ? {floats: packed(o)} : ArrayBuffer.isView(o) ? {bytes: packed(o)} : o;
const answer = ([name, ...given]) => {
  try { return js[name](...given); }
  catch (e) { return {error: e.message}; }
};
process.stdout.write(JSON.stringify(JSON.parse(readFileSync(cases, 'utf8'), revive).map(answer), pack));
