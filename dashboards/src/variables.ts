// Defines the variables that can be chosen at the top of a dashboard.

import {
  type VariableModel,
  ConstantVariableBuilder,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  VariableRefresh,
  VariableSort,
} from "@grafana/grafana-foundation-sdk/dashboard";
import type { Builder } from "@grafana/grafana-foundation-sdk/cog";

/** The data source that every panel uses. */
export const DATASOURCE = { type: "prometheus", uid: "${datasource}" };

// `up` exists whenever Prometheus knows the job, so a dashboard can be opened even while every scrape fails. `up` lists
// every job, so the job of `prometheus.yml` is chosen at first.
const JOB = choice("job", "Job", "label_values(up, job)").current({
  selected: true,
  text: ["sigils"],
  value: ["sigils"],
});
// Series that were scraped without the label belong to all stacks: an empty value matches `.*` but not `.+`.
const STACK = choice("stack", "Stack", 'label_values(up{job=~"$job"}, stack)').allValue(".*");
const INSTANCE = choice("instance", "Instance", 'label_values(up{job=~"$job", stack=~"$stack"}, instance)');
const FUNCTION = choice(
  "function",
  "Function",
  'label_values(lambda_invocations_total{job=~"$job", stack=~"$stack"}, function)',
);

/** All variables, in the order in which they depend on each other. */
export const VARIABLES: Builder<VariableModel>[] = [
  new DatasourceVariableBuilder("datasource").label("Data source").type("prometheus"),
  JOB,
  STACK,
  INSTANCE,
  FUNCTION,
  new ConstantVariableBuilder("runbook").label("Runbook").value("runbook.md"),
];

function choice(name: string, label: string, query: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(DATASOURCE)
    .query({ query, refId: name })
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue(".+")
    .current({ selected: true, text: ["All"], value: ["$__all"] });
}
