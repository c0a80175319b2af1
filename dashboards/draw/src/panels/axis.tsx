// Draws a time axis for the panels that Grafana's libraries do not draw.

import { dateTimeFormat } from "@grafana/data";

import type { View } from "../view";

export const AXIS_HEIGHT = 20;
const STEPS = [10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200];

/** Returns the horizontal position of a time, in pixels from the left end. */
export function place(time: number, view: View, width: number): number {
  return ((time / 1000 - view.from) / view.range) * width;
}

export function TimeAxis(props: { view: View; left: number; width: number; y: number; colour: string }) {
  const { view, left, width, y, colour } = props;
  const step = STEPS.find((step) => (step / view.range) * width >= 70) ?? 14400;
  const ticks: number[] = [];
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) ticks.push(at);
  const format = step < 60 ? "HH:mm:ss" : "HH:mm";
  return (
    <>
      {ticks.map((at) => (
        <text key={at} x={left + place(at * 1000, view, width)} y={y + 15} fill={colour} fontSize={12} textAnchor="middle">
          {dateTimeFormat(at * 1000, { format })}
        </text>
      ))}
    </>
  );
}
