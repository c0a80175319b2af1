// Asks the Prometheus that serves this page, and turns its answers into data frames.

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

interface Answer {
  result: Series[];
}

// Longer than any query of the dashboards takes.
const PATIENCE_MS = 5000;

/** Thrown if Prometheus did not answer, or the answer was not one of Prometheus. No query is to blame. */
export class Unreachable extends Error {}

/** Checks that Prometheus answers. If not, the promise is rejected with {@link Unreachable}. */
export async function reach(): Promise<void> {
  await get("query", { query: "1" });
}

/** An alert's rule, with its current state. */
export interface Alert {
  name: string;
  state: "inactive" | "pending" | "firing";
  labels: Record<string, string>;
  alerts: { activeAt: string; labels: Record<string, string>; annotations: Record<string, string> }[];
}

export async function alerts(): Promise<Alert[]> {
  const { groups } = await get<{ groups: { rules: Alert[] }[] }>("rules", { type: "alert" });
  return groups.flatMap((group) => group.rules);
}

export async function ask(target: Target, view: View, chosen: Map<string, string>): Promise<DataFrame[]> {
  const query = interpolate(target.expr, view, chosen);
  const { step } = view;
  // Steps are at whole multiples, so that a curve does not wobble as time passes.
  const from = Math.ceil(view.from / step) * step;
  const { result } = target.instant
    ? await get<Answer>("query", { query, time: String(view.to) })
    : await get<Answer>("query_range", { query, start: String(from), end: String(view.to), step: String(step) });
  return result.map(({ metric, values, value }) => {
    const samples = values ?? [value!];
    const name = target.legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? "");
    return toDataFrame({
      refId: target.refId,
      fields: [
        // With the interval, missing samples can be told from a long step.
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

async function get<Data>(path: string, parameters: Record<string, string>): Promise<Data> {
  const { status, error, data } = await fetched<Data>(`../api/v1/${path}?${new URLSearchParams(parameters)}`);
  if (status !== "success") throw new Error(`${parameters["query"] ?? path}: ${error}`);
  return data!;
}

async function fetched<Data>(url: string): Promise<{ status: string; error?: string; data?: Data }> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
    return await response.json();
  } catch (error) {
    const hangs = error instanceof DOMException && error.name === "TimeoutError";
    throw new Unreachable(hangs ? `it did not answer within ${PATIENCE_MS / 1000} s` : "it cannot be reached");
  }
}
