// Calls a handler in a bare loop: bare.mjs FOLDER HANDLER EVENTFILE COUNT prints the seconds taken.

import { readFileSync, openSync, writeSync } from "node:fs";

const [folder, handler, path, count] = process.argv.slice(2);
const [module, name] = handler.split(".");
const loaded = await import(`${folder}/${module}.js`);
const call = loaded[name] ?? loaded.default[name];
const out = openSync("/dev/null", "w");

async function once() {
  const event = JSON.parse(readFileSync(path));
  writeSync(out, Buffer.from(JSON.stringify(await call(event, {}))));
}

for (let i = 0; i < 50; i++) await once(); // the compiler needs a while
const begun = process.hrtime.bigint();
for (let i = 0; i < Number(count); i++) await once();
console.log(Number(process.hrtime.bigint() - begun) / 1e9);
