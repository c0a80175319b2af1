// Draws Grafana's TimeSeries.

import { type DataFrame, applyNullInsertThreshold, dateTime } from "@grafana/data";
import type { VizLegendOptions } from "@grafana/schema";
import { TimeSeries } from "@grafana/ui";

import type { View } from "../view";

export function Curves(props: { frames: DataFrame[]; legend: VizLegendOptions; view: View; width: number; height: number }) {
  const { frames, legend, view, width, height } = props;
  const [from, to] = [dateTime(view.from * 1000), dateTime(view.to * 1000)];
  return (
    <TimeSeries
      // Grafana's own panel does the same before it draws: a curve has a gap where samples are missing.
      frames={frames.map((frame) => applyNullInsertThreshold({ frame }))}
      legend={legend}
      timeRange={{ from, to, raw: { from, to } }}
      timeZone="browser"
      width={width}
      height={height}
    />
  );
}
