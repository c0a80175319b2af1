// Asks Prometheus, on whose pages this one is, and makes data frames of its answers.

import { type DataFrame, FieldType, toDataFrame } from "@grafana/data";

import { type View, interpolate } from "./view";

export interface Target {
  refId: string;
  expr: string;
  legendFormat: string;
  instant?: boolean;
}

interface Series {
  metric: Record<string, string>;
  values?: [number, string][];
  value?: [number, string];
}

// A curve has no more points than a small screen shows.
const POINTS = 240;

export async function ask(target: Target, view: View, chosen: Map<string, string>): Promise<DataFrame[]> {
  const query = interpolate(target.expr, view, chosen);
  const step = Math.max(1, Math.ceil(view.range / POINTS));
  // Steps stand at whole multiples, so that a curve does not wobble while time goes on.
  const from = Math.ceil(view.from / step) * step;
  const series = target.instant
    ? await get("query", { query, time: String(view.to) })
    : await get("query_range", { query, start: String(from), end: String(view.to), step: String(step) });
  return series.map(({ metric, values, value }) => {
    const samples = values ?? [value!];
    const name = target.legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? "");
    return toDataFrame({
      refId: target.refId,
      fields: [
        // The interval lets a gap be seen as one.
        { name: "Time", type: FieldType.time, values: samples.map(([at]) => at * 1000), config: { interval: step * 1000 } },
        {
          name: "Value",
          type: FieldType.number,
          labels: metric,
          values: samples.map(([, text]) => number(text)),
          config: { displayNameFromDS: name },
        },
      ],
    });
  });
}

function number(text: string): number | null {
  const value = Number(text.replace("Inf", "Infinity"));
  return Number.isNaN(value) ? null : value;
}

async function get(path: string, parameters: Record<string, string>): Promise<Series[]> {
  const response = await fetch(`../api/v1/${path}?${new URLSearchParams(parameters)}`);
  const answer = await response.json();
  if (answer.status !== "success") throw new Error(`${parameters["query"]}: ${answer.error}`);
  return answer.data.result;
}
