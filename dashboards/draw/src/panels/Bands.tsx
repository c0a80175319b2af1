// Draws a state timeline, which Grafana's libraries do not contain: one band for each series, colored by its value.

import { type DataFrame, type GrafanaTheme2, formattedValueToString, getFieldDisplayName } from "@grafana/data";

import { valueField } from "../fields";
import type { View } from "../view";
import { AXIS_HEIGHT, TimeAxis, place } from "./axis";

const LEFT = 84;
const GAP = 0.2;

interface Stretch {
  from: number;
  to: number;
  value: number | null;
}

/** Returns the spans of one value, merged as long as the samples follow each other. */
function stretches(frame: DataFrame): Stretch[] {
  const times = frame.fields[0]!;
  const step: number = times.config.interval!;
  const found: Stretch[] = [];
  times.values.forEach((at: number, index: number) => {
    const value: number | null = valueField(frame).values[index];
    const last = found.at(-1);
    if (last && last.value === value && at - last.to <= step * 1.5) {
      last.to = at;
    } else {
      if (last && at - last.to <= step * 1.5) last.to = at;
      found.push({ from: at, to: at, value });
    }
  });
  return found;
}

export function Bands(props: { frames: DataFrame[]; theme: GrafanaTheme2; view: View; width: number; height: number }) {
  const { frames, theme, view, width, height } = props;
  const plotHeight = height - AXIS_HEIGHT - 4;
  const plotWidth = width - LEFT - 8;
  const rowHeight = plotHeight / frames.length;
  return (
    <svg width={width} height={height} style={{ display: "block" }}>
      {frames.map((frame, index) => {
        const field = valueField(frame);
        const name = getFieldDisplayName(field, frame);
        const y = (index + GAP / 2) * rowHeight;
        const bandHeight = rowHeight * (1 - GAP);
        return (
          <g key={name} data-series={name}>
            <text x={LEFT - 8} y={y + bandHeight / 2 + 4} fill={theme.colors.text.primary} fontSize={12} textAnchor="end">
              {name}
            </text>
            {stretches(frame).map(({ from, to, value }) => {
              const x = LEFT + place(from, view, plotWidth);
              const bandWidth = Math.max(1, LEFT + place(to, view, plotWidth) - x);
              const display = field.display!(value);
              const empty = display.color === "transparent";
              return (
                <g key={from} data-value={value}>
                  <rect
                    x={x}
                    y={y}
                    width={bandWidth}
                    height={bandHeight}
                    fill={empty ? theme.colors.background.secondary : display.color}
                    fillOpacity={0.8}
                  />
                  {bandWidth > 24 && (
                    <text
                      x={x + bandWidth / 2}
                      y={y + bandHeight / 2 + 4}
                      fill={empty ? theme.colors.text.secondary : theme.colors.getContrastText(display.color!)}
                      fontSize={12}
                      textAnchor="middle"
                    >
                      {formattedValueToString(display)}
                    </text>
                  )}
                </g>
              );
            })}
          </g>
        );
      })}
      <TimeAxis view={view} left={LEFT} width={plotWidth} y={plotHeight} colour={theme.colors.text.secondary} />
    </svg>
  );
}
