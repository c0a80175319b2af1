// Checks dashboards against the types that Grafana publishes for them:
//
//   node build/checks/schema.js <folder>
//
// TypeScript does the work: each file becomes a literal of the type, which accepts neither a wrong value nor a member that
// the schema does not know.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const [folder, ...rest] = process.argv.slice(2);
if (folder === undefined || rest.length > 0) {
  console.error("usage: schema <folder>");
  process.exit(2);
}
const checks = fileURLToPath(new URL("../../checks/", import.meta.url));
const sources = new Map(
  ["service", "pipeline"].map((name) => {
    const literal = readFileSync(join(folder, `${name}.json`), "utf8");
    const text = `import type { Dashboard } from "./types.js";\nexport const dashboard: Dashboard =\n${literal};\n`;
    return [join(checks, `${name}.schema.ts`), text];
  }),
);
const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  strict: true,
  skipLibCheck: true,
  noEmit: true,
  types: [],
};
const host = ts.createCompilerHost(options);
const { fileExists, readFile, getSourceFile } = host;
host.fileExists = (file) => sources.has(file) || fileExists(file);
host.readFile = (file) => sources.get(file) ?? readFile(file);
host.getSourceFile = (file, ...how) => {
  const text = sources.get(file);
  return text === undefined ? getSourceFile(file, ...how) : ts.createSourceFile(file, text, options.target!);
};
const diagnostics = ts.getPreEmitDiagnostics(ts.createProgram([...sources.keys()], options, host));
if (diagnostics.length > 0) {
  console.error(ts.formatDiagnostics(diagnostics, host));
  process.exitCode = 1;
}
