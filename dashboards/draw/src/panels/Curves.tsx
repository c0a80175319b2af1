// Grafana's TimeSeries.

import { type DataFrame, applyNullInsertThreshold, dateTime } from "@grafana/data";
import type { VizLegendOptions } from "@grafana/schema";
import { TimeSeries } from "@grafana/ui";

import type { View } from "../view";

export function Curves(props: { frames: DataFrame[]; legend: VizLegendOptions; view: View; width: number; height: number }) {
  const { frames, legend, view, width, height } = props;
  const [from, to] = [dateTime(view.from * 1000), dateTime(view.to * 1000)];
  return (
    <TimeSeries
      // As Grafana's own panel does before it draws: where samples are missing, a curve has a gap.
      frames={frames.map((frame) => applyNullInsertThreshold({ frame }))}
      legend={legend}
      timeRange={{ from, to, raw: { from, to } }}
      timeZone="browser"
      width={width}
      height={height}
    />
  );
}
