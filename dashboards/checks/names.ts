// Checks that every metric, label and label value in a query exists, that each metric is queried in a way that its type
// allows, and that every metric is either on a dashboard or on the list of those that are on none.

import { readFileSync } from "node:fs";

import { type DashboardFile, type Rule, type Section, type Series, queriesOf } from "./inputs.js";
import { type Query, ENDS, parse, RISES } from "./promql.js";

// Series that Prometheus itself adds to each scrape.
const OF_PROMETHEUS = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];
const OF_TARGETS = ["job", "instance", "stack"];
// Does not match the names of recording rules, whose parts are separated by colons.
const OUR_NAMES = /(?<![\w:])(?:sigil|lambda|process|prometheus_dynamodb|secret_renewal)_[a-z0-9_]*[a-z0-9]\b(?!:)/g;
// Names of crates, which have the same form and are no metrics.
const OTHER_NAMES = ["prometheus_dynamodb", "lambda_runtime", "lambda_http"];

export class Names {
  readonly complaints: string[] = [];
  private readonly shown = new Set<string>();

  constructor(
    private readonly page: Map<string, Series>,
    private readonly recorded: Set<string>,
  ) {}

  dashboard({ name, targets, variables }: DashboardFile) {
    for (const { panel, expression } of targets) {
      const selectors = this.query(expression, `${name}: "${panel.title}"`)?.selectors ?? [];
      for (const { metric } of selectors) {
        this.shown.add(this.page.get(metric)?.family ?? metric);
      }
    }
    for (const variable of variables.filter((variable) => variable.type === "query")) {
      const { query } = variable.query as { query: string };
      const [, selector, label] = /^label_values\((.+), *(\w+)\)$/.exec(query) ?? [];
      this.query(`count by (${label}) (${selector})`, `${name}: the variable ${variable.name}`, true);
    }
  }

  rules(rules: Rule[], name: string) {
    rules.forEach((rule) => this.query(rule.expr, `${name}: ${rule.alert ?? rule.record}`));
  }

  /** Checks a document that names metrics in its text, and queries them in blocks of PromQL. */
  document(file: string, sections: Section[]) {
    queriesOf(sections).forEach((query) => this.query(query, file));
    this.text(file);
  }

  /** Checks any text that names metrics. */
  text(file: string) {
    const families = this.families();
    for (const [name] of readFileSync(file, "utf8").matchAll(OUR_NAMES)) {
      if (!this.page.has(name) && !families.has(name) && !OTHER_NAMES.includes(name)) {
        this.complaints.push(`${file}: there is no metric ${name}`);
      }
    }
  }

  /** Checks that the reference of metrics names every metric. */
  listedIn(file: string) {
    const listed = new Set([...readFileSync(file, "utf8").matchAll(OUR_NAMES)].map(([name]) => name));
    for (const family of this.families()) {
      if (!listed.has(family)) this.complaints.push(`${file}: ${family} is not listed`);
    }
  }

  /** Checks the section that lists the metrics on no dashboard. Each is in a list item that starts with its name. */
  notShown(section: Section | undefined) {
    const listed = new Set([...(section?.text ?? "").matchAll(/^- `(\w+)`/gm)].map((match) => match[1]!));
    const families = this.families();
    for (const family of families) {
      if (!this.shown.has(family) && !listed.has(family)) {
        this.complaints.push(`${family} is on no dashboard, and not listed among those that are on none`);
      }
    }
    for (const family of listed) {
      if (!families.has(family)) this.complaints.push(`there is no metric ${family} to be listed as on no dashboard`);
      if (this.shown.has(family)) this.complaints.push(`${family} is listed as on no dashboard, and is on one`);
    }
  }

  private families(): Set<string> {
    return new Set([...this.page.values()].map((series) => series.family));
  }

  private query(expression: string, where: string, anyUse = false): Query | undefined {
    const complain = (complaint: string) => void this.complaints.push(`${where}: ${complaint}`);
    let query: Query;
    try {
      query = parse(expression);
    } catch (error) {
      complain((error as Error).message);
      return undefined;
    }
    for (const { metric, matchers, within } of query.selectors) {
      const series = this.page.get(metric);
      if (this.recorded.has(metric) || OF_PROMETHEUS.includes(metric)) continue;
      if (series === undefined) {
        complain(`there is no metric ${metric}`);
        continue;
      }
      if (!anyUse) this.use(series.type, metric, within, complain);
      for (const { label, operator, value } of matchers) {
        this.matcher(series, metric, label, operator, value, complain);
      }
    }
    for (const { labels, metrics } of query.groupings) {
      for (const label of labels.filter((label) => !OF_TARGETS.includes(label))) {
        for (const metric of metrics) {
          const series = this.page.get(metric);
          if (series && !series.labels.has(label)) complain(`${metric} has no label ${label} to group by`);
        }
      }
    }
    if (/\bhistogram_quantile\b/.test(expression)) {
      const groupings = query.groupings.filter(({ metrics }) => metrics.some((metric) => metric.endsWith("_bucket")));
      if (!groupings.every(({ labels }) => labels.includes("le"))) complain("a quantile needs the buckets' label le");
    }
    return query;
  }

  /** Checks that a counter is only queried for its rise, and a gauge only for its value. */
  private use(type: string, metric: string, within: string[], complain: (complaint: string) => void) {
    const rises = RISES.includes(within[0]!);
    if (type === "gauge" && rises) complain(`${metric} is a gauge, and has no rate`);
    if (type !== "gauge" && !rises && !ENDS.includes(within[0]!)) complain(`${metric} is a ${type}, and only its rate means something`);
  }

  private matcher(
    series: Series,
    metric: string,
    label: string,
    operator: string,
    value: string,
    complain: (complaint: string) => void,
  ) {
    const values = series.labels.get(label);
    if (OF_TARGETS.includes(label)) return;
    if (values === undefined) return complain(`${metric} has no label ${label}`);
    if (value.startsWith("$")) return;
    const asked = operator.includes("~") ? value.split("|") : [value];
    for (const one of asked) {
      if (!values.has(one)) complain(`${metric} has no series with ${label}="${one}"`);
    }
  }
}
