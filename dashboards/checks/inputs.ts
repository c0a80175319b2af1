// Reads the inputs of the checks: dashboards, rules, documents and the page of a running bundle.

import { readFileSync } from "node:fs";
import type { Dashboard, Panel, VariableModel } from "@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen";
import { parse as parseYaml } from "yaml";

/** A query of a panel. */
export interface Target {
  panel: Panel;
  expression: string;
}

export interface DashboardFile {
  name: string;
  dashboard: Dashboard;
  panels: Panel[];
  targets: Target[];
  variables: VariableModel[];
}

export function readDashboard(file: string): DashboardFile {
  const dashboard = JSON.parse(readFileSync(file, "utf8")) as Dashboard;
  const panels = (dashboard.panels ?? []).filter((panel): panel is Panel => panel.type !== "row");
  const targets = panels.flatMap((panel) =>
    (panel.targets ?? []).map((target) => ({ panel, expression: String(target["expr"] ?? "") })),
  );
  return { name: file, dashboard, panels, targets, variables: dashboard.templating?.list ?? [] };
}

export interface Rule {
  /** Set for a recording rule: its name. */
  record?: string;
  /** Set for an alert: its name. */
  alert?: string;
  expr: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

export function readRules(file: string): Rule[] {
  const { groups } = parseYaml(readFileSync(file, "utf8")) as { groups: { rules: Rule[] }[] };
  return groups.flatMap((group) => group.rules);
}

export interface Section {
  heading: string;
  text: string;
}

/** Reads the sections of a Markdown document. A section ends where the next heading of any level starts. */
export function readSections(file: string): Section[] {
  const [, ...sections] = readFileSync(file, "utf8").split(/^#+ /m);
  return sections.map((section) => {
    const end = section.indexOf("\n");
    return { heading: section.slice(0, end).trim(), text: section.slice(end + 1) };
  });
}

/** Returns the fragment with which a link to the section ends. */
export function anchor(section: Section): string {
  return section.heading.toLowerCase().replace(/[^a-z0-9 -]/g, "").replaceAll(" ", "-");
}

/** Returns the queries of a document: its fenced blocks of PromQL. */
export function queriesOf(sections: Section[]): string[] {
  return sections.flatMap((section) => [...section.text.matchAll(/^```promql\n(.*?)^```/gms)].map((match) => match[1]!));
}

/** The family, type, labels and label values of the series of one name. */
export interface Series {
  family: string;
  type: string;
  labels: Map<string, Set<string>>;
}

/** Reads the series of a page in text format, by name. */
export function readPage(file: string): Map<string, Series> {
  const types = new Map<string, string>();
  const series = new Map<string, Series>();
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const [, declared, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (declared !== undefined) {
      types.set(declared, type!);
    }
    const [, name, labels] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$/.exec(line) ?? [];
    if (name === undefined) continue;
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "");
    const known = series.get(name) ?? { family, type: types.get(family) ?? "untyped", labels: new Map() };
    for (const [, label, value] of (labels ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      known.labels.set(label!, (known.labels.get(label!) ?? new Set()).add(value!));
    }
    series.set(name, known);
  }
  if (series.size === 0) {
    throw new Error(`${file} is no page of metrics`);
  }
  return series;
}
