// Implements the rules of Grafana's dashboard linter (github.com/grafana/dashboard-linter), under the names that they have
// there. The linter is a Go program without a published binary, so its rules are written again here. They hold for every
// kind of panel, not only for some.

import type { Panel } from "@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen";

import type { DashboardFile, Target } from "./inputs.js";
import { type Query, ENDS, parse, RATE_INTERVAL, RISES } from "./promql.js";

const DATASOURCE = "${datasource}";
const LABEL_VALUES = /^label_values\((?:(?<selector>.+),\s*)?(?<label>\w+)\)$/s;
// Grafana's units that are in use here. Grafana would show an unknown unit as text after the number.
const UNITS = ["none", "short", "locale", "percentunit", "s", "bytes", "ops", "reqps", "wps"];

type Complain = (complaint: string) => void;
type RuleSet<Subject> = Record<string, (subject: Subject, complain: Complain, file: DashboardFile) => void>;

const OF_DASHBOARDS: RuleSet<DashboardFile> = {
  "template-datasource-rule": ({ variables }, complain) => {
    const found = variables.filter((variable) => variable.type === "datasource");
    if (found.length !== 1) complain(`${found.length} variables for the data source, not one`);
    for (const { name, label, query } of found) {
      if (name !== "datasource" || label !== "Data source") complain(`it is called ${name}, labelled ${label}`);
      if (query !== "prometheus") complain(`it offers ${JSON.stringify(query)}, not prometheus`);
    }
  },
  "template-job-rule": (file, complain) => checkChoice(file, "job", "Job", complain),
  "template-instance-rule": (file, complain) => checkChoice(file, "instance", "Instance", complain),
  "template-label-promql-rule": ({ variables }, complain) => {
    for (const { name, query } of variables.filter((variable) => variable.type === "query")) {
      const parts = LABEL_VALUES.exec(queryText(query));
      if (parts === null) complain(`${name} asks for no label's values: ${queryText(query)}`);
      const selector = parts?.groups?.["selector"];
      if (selector !== undefined) parsed(selector, complain);
    }
  },
  "template-on-time-change-reload-rule": ({ variables }, complain) => {
    for (const { name, refresh } of variables.filter((variable) => variable.type === "query")) {
      if (refresh !== 2) complain(`${name} is not read again when the time range changes`);
    }
  },
  "uneditable-dashboard": ({ dashboard }, complain) => {
    if (dashboard.editable !== false) complain("it can be edited, and what is edited would be lost");
  },
};

const OF_PANELS: RuleSet<Panel> = {
  "panel-datasource-rule": (panel, complain) => {
    const uids = [panel.datasource, ...(panel.targets ?? []).map((target) => target["datasource"])].map(
      (datasource) => (datasource as { uid?: string } | undefined)?.uid,
    );
    if (uids.some((uid) => uid !== DATASOURCE)) complain(`it asks ${uids.join(", ")}`);
  },
  "panel-title-description-rule": ({ title, description }, complain) => {
    if (!title || !description) complain("the title or the description is missing");
  },
  "panel-units-rule": ({ fieldConfig }, complain) => {
    const unit = fieldConfig?.defaults.unit;
    if (unit === undefined || !UNITS.includes(unit)) complain(`the unit is ${unit}`);
  },
  // Not a rule of Grafana's linter. Without the soft maximum, zeros would be drawn on an axis up to 100.
  "panel-axis-rule": ({ type, fieldConfig }, complain) => {
    const { axisSoftMax } = (fieldConfig?.defaults.custom ?? {}) as { axisSoftMax?: number };
    if (type === "timeseries" && axisSoftMax === undefined) complain("its axis has no end where nothing reaches it");
  },
  "panel-no-targets-rule": ({ targets }, complain) => {
    if (!targets || targets.length === 0) complain("it asks for nothing");
  },
};

const OF_TARGETS: RuleSet<Target> = {
  // Rules about LogQL hold if no panel queries Loki, so these two check that.
  "target-logql-rule": ({ panel }, complain) => noLoki(panel, complain),
  "target-logql-auto-rule": ({ panel }, complain) => noLoki(panel, complain),
  "target-promql-rule": ({ expression }, complain) => void parsed(expression, complain),
  "target-rate-interval-rule": ({ expression }, complain) => {
    for (const { metric, range, within } of parsed(expression)?.selectors ?? []) {
      if (["rate", "irate"].includes(within[0]!) && range !== RATE_INTERVAL) complain(`${metric} has a fixed interval`);
    }
  },
  "target-job-rule": (target, complain) => checkMatcher(target, "job", complain),
  "target-instance-rule": (target, complain) => checkMatcher(target, "instance", complain),
  // Not a rule of Grafana's linter. Without the matcher, a panel would show all stacks while one is chosen.
  "target-stack-rule": (target, complain) => checkMatcher(target, "stack", complain),
  "target-counter-agg-rule": ({ expression }, complain) => {
    for (const { metric, within } of parsed(expression)?.selectors ?? []) {
      if (metric.endsWith("_total") && ![...RISES, ...ENDS].includes(within[0]!)) {
        complain(`${metric} is a counter, and its value means nothing`);
      }
    }
  },
};

/** Queries for which some rules do not hold, with the reason. */
const EXCEPTIONS = [
  "rate(sigil_encode_total[5m])",
  "histogram_quantile(0.95, sum(rate(sigil_encode_duration_seconds_bucket[5m])) by (le))",
].map((expression) => ({
  expression,
  rules: ["target-rate-interval-rule", "target-job-rule", "target-instance-rule", "target-stack-rule"],
  // Beside each of these queries, the panel has queries for which the rules hold.
  reason: "a query that users know by heart, word for word",
}));

/** Returns every violation of these rules in a dashboard. */
export function lint(file: DashboardFile): string[] {
  const complaints: string[] = [];
  const check = <Subject>(rules: RuleSet<Subject>, subject: Subject, where: string, except: string[] = []) => {
    for (const [name, rule] of Object.entries(rules)) {
      const before = complaints.length;
      rule(subject, (complaint) => complaints.push(`${where}: ${name}: ${complaint}`), file);
      if (except.includes(name)) {
        const excepted = complaints.splice(before);
        if (excepted.length === 0) complaints.push(`${where}: ${name}: the exception is not needed`);
      }
    }
  };
  check(OF_DASHBOARDS, file, file.name);
  for (const panel of file.panels) {
    check(OF_PANELS, panel, `${file.name}: "${panel.title}"`);
  }
  for (const target of file.targets) {
    const except = EXCEPTIONS.find((exception) => exception.expression === target.expression)?.rules;
    check(OF_TARGETS, target, `${file.name}: "${target.panel.title}"`, except);
  }
  return complaints;
}

function checkChoice({ variables }: DashboardFile, name: string, label: string, complain: Complain) {
  const variable = variables.find((variable) => variable.name === name);
  if (variable === undefined) return complain("it is missing");
  if (variable.datasource?.uid !== DATASOURCE) complain(`it asks ${variable.datasource?.uid}`);
  if (variable.type !== "query") complain(`it is of the type ${variable.type}`);
  if (variable.label !== label) complain(`it is labelled ${variable.label}`);
  if (variable.multi !== true) complain("only one can be chosen");
  if (variable.allValue !== ".+") complain(`all of them are ${variable.allValue}`);
}

function checkMatcher({ expression }: Target, label: string, complain: Complain) {
  for (const { metric, matchers } of parsed(expression)?.selectors ?? []) {
    const found = matchers.some((matcher) => matcher.label === label && matcher.operator === "=~" && matcher.value === `$${label}`);
    if (!found) complain(`${metric} does not have ${label}=~"$${label}"`);
  }
}

function noLoki({ datasource }: Panel, complain: Complain) {
  if (datasource?.type !== "prometheus") complain(`it asks ${datasource?.type}`);
}

function queryText(query: unknown): string {
  return typeof query === "string" ? query : String((query as { query?: string } | undefined)?.query);
}

/** Parses an expression. Only one rule passes `complain` and reports invalid PromQL; the other rules ignore it. */
function parsed(expression: string, complain: Complain = () => {}): Query | undefined {
  try {
    return parse(expression);
  } catch (error) {
    complain((error as Error).message);
    return undefined;
  }
}
