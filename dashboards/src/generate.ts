// Writes the dashboards next to this package, in the form that Grafana imports:
//
//   node build/src/generate.js           writes them
//   node build/src/generate.js --check   fails if the files differ from what the code generates

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { pipeline } from "./pipeline.js";
import { service } from "./service.js";

const FOLDER = new URL("../../", import.meta.url);
const FILES = { "service.json": service, "pipeline.json": pipeline };

const [option, ...rest] = process.argv.slice(2);
if ((option !== undefined && option !== "--check") || rest.length > 0) {
  console.error("usage: generate [--check]");
  process.exit(2);
}
for (const [name, dashboard] of Object.entries(FILES)) {
  const file = fileURLToPath(new URL(name, FOLDER));
  const text = `${JSON.stringify(dashboard, null, 2)}\n`;
  if (option === undefined) {
    writeFileSync(file, text);
  } else if (readFileSync(file, "utf8") !== text) {
    console.error(`${file} is not what the code says: run 'make dashboards-json' and commit the difference`);
    process.exitCode = 1;
  }
}
