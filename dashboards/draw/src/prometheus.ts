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

// Beyond what any query of the dashboards takes.
const PATIENCE_MS = 5000;

/** Prometheus did not answer, or not as Prometheus does: no query is to blame. */
export class Unreachable extends Error {}

/** Asks whether Prometheus answers. If not, the promise fails with {@link Unreachable}. */
export async function reach(): Promise<void> {
  await get("query", { query: "1" });
}

export async function ask(target: Target, view: View, chosen: Map<string, string>): Promise<DataFrame[]> {
  const query = interpolate(target.expr, view, chosen);
  const { step } = view;
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
  const answer = await fetched(`../api/v1/${path}?${new URLSearchParams(parameters)}`);
  if (answer.status !== "success") throw new Error(`${parameters["query"]}: ${answer.error}`);
  return answer.data!.result;
}

async function fetched(url: string): Promise<{ status: string; error?: string; data?: { result: Series[] } }> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
    return await response.json();
  } catch (error) {
    const hangs = error instanceof DOMException && error.name === "TimeoutError";
    throw new Unreachable(hangs ? `it did not answer within ${PATIENCE_MS / 1000} s` : "it cannot be reached");
  }
}
