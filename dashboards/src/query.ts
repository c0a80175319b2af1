// Builds PromQL with the dashboards' variables in it.

import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";

// One matcher for each variable of `variables.ts` that queries select by.
const TARGET = 'job=~"$job", stack=~"$stack", instance=~"$instance"';

/** Returns a selector of a metric's series in the selected jobs, stacks and instances, with these further matchers. */
export function series(metric: string, matchers = ""): string {
  return `${metric}{${matchers ? `${TARGET}, ${matchers}` : TARGET}}`;
}

/** Matches the selected functions. */
export const OF_FUNCTIONS = 'function=~"$function"';

/** Returns the per-second rate of a counter. */
export function rate(metric: string, matchers = ""): string {
  return `rate(${series(metric, matchers)}[$__rate_interval])`;
}

/**
 * Returns the rise of a counter within a range: its last value less the one at the start, or less the first value if there
 * is none at the start. Counters never fall, so the result is a whole number and exact, while `increase()` extrapolates to
 * the ends of the range.
 */
export function risen(metric: string, matchers = "", range = "$__range"): string {
  const counter = series(metric, matchers);
  const start = `last_over_time(${counter}[5m] offset ${range}) or min_over_time(${counter}[${range}])`;
  return `max_over_time(${counter}[${range}]) - (${start})`;
}

/** Returns the rise in the last hour, for hourly events: a shorter range would mostly contain none. */
export function risenInAnHour(metric: string, matchers = ""): string {
  return risen(metric, matchers, "1h");
}

/** Returns a quantile of a histogram, over all series or for each value of these labels. */
export function quantile(quantile: number, metric: string, labels: string[] = [], matchers = ""): string {
  const by = ["le", ...labels].join(", ");
  return `histogram_quantile(${quantile}, sum by (${by}) (${rate(`${metric}_bucket`, matchers)}))`;
}

// Matches requests that failed by the service's fault. A request that a client got wrong is answered as it should be.
export const FAILED = 'operation!="gc", reason=~"throttled|circuit_open|unavailable|damaged"';

/** Returns a query for a curve. */
export function curve(expression: string, legend: string): DataqueryBuilder {
  return new DataqueryBuilder().expr(expression).legendFormat(legend).range();
}

/** Returns a query for one value, at the end of the time range. */
export function value(expression: string, legend: string): DataqueryBuilder {
  return new DataqueryBuilder().expr(expression).legendFormat(legend).instant();
}

/** Returns a query for a histogram's buckets, as rows of a heatmap. */
export function buckets(metric: string): DataqueryBuilder {
  const expression = `sum by (le) (increase(${series(`${metric}_bucket`)}[$__rate_interval]))`;
  return new DataqueryBuilder().expr(expression).legendFormat("{{le}}").format(PromQueryFormat.Heatmap).range();
}
