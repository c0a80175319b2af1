// Checks dashboards and rules against each other, against the runbook, and against the page of a running bundle:
//
//   node build/checks/main.js <folder> <page> <list> [<document>...]
//
// The folder is this package's, or a copy of it with a mistake that the checks must notice. The list must name every metric.
// In the list and in further documents, only the names of metrics are checked.

import { join } from "node:path";

import { readDashboard, readPage, readRules, readSections } from "./inputs.js";
import { links } from "./links.js";
import { lint } from "./lint.js";
import { Names } from "./names.js";

const [folder, pageFile, list, ...documents] = process.argv.slice(2);
if (folder === undefined || pageFile === undefined || list === undefined) {
  console.error("usage: main <folder> <page> <list> [<document>...]");
  process.exit(2);
}
const file = (name: string) => join(folder, name);
const dashboards = ["service.json", "pipeline.json"].map((name) => readDashboard(file(name)));
const rules = readRules(file("alerts.yml"));
const runbook = readSections(file("runbook.md"));
const guide = readSections(file("README.md"));

const names = new Names(readPage(pageFile), new Set(rules.flatMap((rule) => rule.record ?? [])));
dashboards.forEach((dashboard) => names.dashboard(dashboard));
names.rules(rules, file("alerts.yml"));
names.document(file("runbook.md"), runbook);
names.document(file("README.md"), guide);
["alerts.yml", "alerts_test.yml", "alerts_hours_test.yml"].forEach((name) => names.text(file(name)));
[list, ...documents].forEach((document) => names.text(document));
names.listedIn(list);
names.notShown(guide.find((section) => section.heading === "Metrics on no dashboard"));

const complaints = [...dashboards.flatMap(lint), ...links(dashboards, rules, runbook), ...names.complaints];
complaints.forEach((complaint) => console.error(complaint));
process.exitCode = complaints.length > 0 ? 1 : 0;
