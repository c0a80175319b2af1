// Checks that every alert and every panel has a section in the runbook, and that every alert's section answers the same
// questions.

import { type DashboardFile, type Rule, type Section, anchor } from "./inputs.js";

const QUESTIONS = ["Meaning", "First query", "Likely causes", "Action", "Over when"];
const SEVERITIES = ["critical", "warning"];

export function links(dashboards: DashboardFile[], rules: Rule[], runbook: Section[]): string[] {
  const complaints: string[] = [];
  const anchors = new Set(runbook.map(anchor));
  for (const { name, panels } of dashboards) {
    for (const { title, links = [] } of panels) {
      const sections = links.map((link) => /^\$\{runbook\}#(.+)$/.exec(link.url ?? "")?.[1]);
      if (sections.length === 0) complaints.push(`${name}: "${title}" has no link to the runbook`);
      for (const section of sections) {
        if (section === undefined || !anchors.has(section)) complaints.push(`${name}: "${title}" links to no section`);
      }
    }
  }
  for (const { alert, labels, annotations } of rules) {
    if (alert === undefined) continue;
    const section = runbook.find((section) => section.heading === alert);
    if (section === undefined) {
      complaints.push(`the runbook has no section ${alert}`);
      continue;
    }
    for (const question of QUESTIONS) {
      if (!section.text.includes(`**${question}.**`)) complaints.push(`the runbook's ${alert} does not say: ${question}`);
    }
    if (!section.text.includes("```promql\n")) complaints.push(`the runbook's ${alert} has no query`);
    if (annotations?.["runbook_url"] !== `dashboards/runbook.md#${anchor(section)}`) {
      complaints.push(`${alert} links to ${annotations?.["runbook_url"]}`);
    }
    for (const part of ["summary", "description"]) {
      if (!annotations?.[part]) complaints.push(`${alert} has no ${part}`);
    }
    const severity = labels?.["severity"] ?? "no severity";
    if (!SEVERITIES.includes(severity)) complaints.push(`${alert} has the severity ${severity}`);
  }
  return complaints;
}
