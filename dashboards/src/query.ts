// PromQL with the dashboards' variables in it.

import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";

// One entry for each variable of `variables.ts` that queries select by.
const TARGET = 'job=~"$job", stack=~"$stack", instance=~"$instance"';

/** Series of a metric, of the selected jobs and instances, and with these matchers. */
export function series(metric: string, matchers = ""): string {
  return `${metric}{${matchers ? `${TARGET}, ${matchers}` : TARGET}}`;
}

/** Matches the selected functions. */
export const OF_FUNCTIONS = 'function=~"$function"';

/** The per-second rate of a counter. */
export function rate(metric: string, matchers = ""): string {
  return `rate(${series(metric, matchers)}[$__rate_interval])`;
}

/**
 * What a counter has risen by within a range: its last value less the one at the start, or the first that there is. The
 * counters never fall, so this is a whole number and exact, where `increase()` extrapolates to the ends of the range.
 */
export function risen(metric: string, matchers = "", range = "$__range"): string {
  const counter = series(metric, matchers);
  const start = `last_over_time(${counter}[5m] offset ${range}) or min_over_time(${counter}[${range}])`;
  return `max_over_time(${counter}[${range}]) - (${start})`;
}

/** The same for the last hour, for what happens every hour: within a shorter range there would mostly be nothing. */
export function risenInAnHour(metric: string, matchers = ""): string {
  return risen(metric, matchers, "1h");
}

/** A quantile of a histogram, for all series or for each value of these labels. */
export function quantile(quantile: number, metric: string, labels: string[] = [], matchers = ""): string {
  const by = ["le", ...labels].join(", ");
  return `histogram_quantile(${quantile}, sum by (${by}) (${rate(`${metric}_bucket`, matchers)}))`;
}

// Requests that failed by the service's fault. Those that a client got wrong are answered as they should be.
export const FAILED = 'operation!="gc", reason=~"throttled|circuit_open|unavailable|damaged"';

/** A query for a curve. */
export function curve(expression: string, legend: string): DataqueryBuilder {
  return new DataqueryBuilder().expr(expression).legendFormat(legend).range();
}

/** A query for one value: that at the end of the time range. */
export function value(expression: string, legend: string): DataqueryBuilder {
  return new DataqueryBuilder().expr(expression).legendFormat(legend).instant();
}

/** A query for a histogram's buckets, as rows of a heatmap. */
export function buckets(metric: string): DataqueryBuilder {
  const expression = `sum by (le) (increase(${series(`${metric}_bucket`)}[$__rate_interval]))`;
  return new DataqueryBuilder().expr(expression).legendFormat("{{le}}").format(PromQueryFormat.Heatmap).range();
}
