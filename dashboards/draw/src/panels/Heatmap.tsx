// Draws a heatmap, which Grafana's libraries do not contain: one row for each bucket, in a stronger color the more fell into
// it.

import { type DataFrame, type GrafanaTheme2, getValueFormat, formattedValueToString } from "@grafana/data";

import { valueField } from "../fields";
import type { View } from "../view";
import { AXIS_HEIGHT, TimeAxis, place } from "./axis";

const LEFT = 64;
const LEGEND_HEIGHT = 24;

interface Row {
  bound: number;
  /** Number of observations that fell into this bucket and into none below, by time. */
  counts: Map<number, number>;
}

/** Returns the rows. Prometheus's buckets are cumulative; a row counts only what the next lower bucket does not. */
function rows(frames: DataFrame[]): Row[] {
  const sorted = frames
    .map((frame) => ({ bound: +valueField(frame).labels!["le"]!.replace("Inf", "Infinity"), frame }))
    .sort((a, b) => a.bound - b.bound);
  let below = new Map<number, number>();
  return sorted.map(({ bound, frame }) => {
    const cumulative = new Map<number, number>(frame.fields[0]!.values.map((at, index) => [at, valueField(frame).values[index]]));
    const counts = new Map([...cumulative].map(([at, count]) => [at, Math.max(0, count - (below.get(at) ?? 0))]));
    below = cumulative;
    return { bound, counts };
  });
}

export function Heatmap(props: { frames: DataFrame[]; theme: GrafanaTheme2; view: View; width: number; height: number }) {
  const { theme, view, width, height } = props;
  const all = rows(props.frames);
  const times = [...all[0]!.counts.keys()];
  const step = times.length > 1 ? times[1]! - times[0]! : 1000;
  const most = Math.max(1, ...all.flatMap((row) => [...row.counts.values()]));
  const plotHeight = height - AXIS_HEIGHT - LEGEND_HEIGHT;
  const plotWidth = width - LEFT - 8;
  const rowHeight = plotHeight / all.length;
  const colour = (share: number) => `hsl(${40 - 28 * share}, 95%, ${22 + 43 * Math.sqrt(share)}%)`;
  const bound = (value: number) =>
    Number.isFinite(value) ? `≤ ${formattedValueToString(getValueFormat("s")(value))}` : "more";
  const text = { fill: theme.colors.text.secondary, fontSize: 12 };
  return (
    <svg width={width} height={height} style={{ display: "block" }}>
      {all.map((row, index) => {
        const y = plotHeight - (index + 1) * rowHeight;
        return (
          <g key={row.bound} data-bucket={row.bound}>
            <text x={LEFT - 6} y={y + rowHeight / 2 + 4} textAnchor="end" {...text}>
              {bound(row.bound)}
            </text>
            <line x1={LEFT} x2={LEFT + plotWidth} y1={y} y2={y} stroke={theme.colors.border.weak} />
            {[...row.counts].map(([at, count]) => {
              if (count < 0.01) return null;
              const right = LEFT + place(at, view, plotWidth);
              const cell = Math.max(1, (step / 1000 / view.range) * plotWidth);
              return (
                <rect
                  key={at}
                  x={Math.max(LEFT, right - cell)}
                  y={y + 0.5}
                  width={cell}
                  height={rowHeight - 1}
                  fill={colour(count / most)}
                />
              );
            })}
          </g>
        );
      })}
      <TimeAxis view={view} left={LEFT} width={plotWidth} y={plotHeight} colour={theme.colors.text.secondary} />
      <g transform={`translate(${LEFT}, ${height - 14})`}>
        {Array.from({ length: 40 }, (_, index) => (
          <rect key={index} x={index * 3} width={3} height={8} fill={colour((index + 1) / 40)} />
        ))}
        <text x={128} y={8} {...text}>
          up to {most.toFixed(0)} within {view.rateInterval} s
        </text>
      </g>
    </svg>
  );
}
