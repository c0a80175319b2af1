// Builds panels of each kind that the dashboards use, with the settings that all panels of the kind share.

import { PanelBuilder as BarGauge } from "@grafana/grafana-foundation-sdk/bargauge";
import * as common from "@grafana/grafana-foundation-sdk/common";
import {
  type Threshold,
  DashboardLinkBuilder,
  DashboardLinkType,
  FieldColorBuilder,
  FieldColorModeId,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from "@grafana/grafana-foundation-sdk/dashboard";
import {
  HeatmapColorMode,
  HeatmapColorOptionsBuilder,
  HeatmapTooltipBuilder,
  PanelBuilder as Heatmap,
  YAxisConfigBuilder,
} from "@grafana/grafana-foundation-sdk/heatmap";
import type { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as Stat } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as StateTimeline } from "@grafana/grafana-foundation-sdk/statetimeline";
import { PanelBuilder as TimeSeries } from "@grafana/grafana-foundation-sdk/timeseries";

import { DATASOURCE } from "./variables.js";

/** The properties that every panel has. */
export interface About {
  title: string;
  description: string;
  /** The anchor of the panel's section in the runbook. */
  runbook: string;
  unit: string;
  queries: DataqueryBuilder[];
}

/**
 * Least value at which an axis ends, by unit. Without it, Grafana draws zeros on an axis up to 100, and shares that are zero
 * on an axis up to 10,000 %.
 */
const LEAST_TOP: Record<string, number> = {
  bytes: 4096,
  none: 1,
  ops: 1,
  percentunit: 0.01,
  reqps: 1,
  s: 0.1,
  short: 4,
  wps: 1,
};

/** Place of the legend: two entries have room below the plot, and a longer legend is placed beside it. */
type LegendAt = "below" | "beside";

type AnyPanel = TimeSeries | Stat | BarGauge | Heatmap | StateTimeline;

/** For values that are neither good nor bad. Grafana's default paints everything above 80 red. */
export const NEUTRAL: Threshold[] = [{ value: null, color: "blue" }];

/** Returns thresholds for values that are good below a limit, and bad from there. */
export function badFrom(limit: number, warnFrom?: number): Threshold[] {
  const warn = warnFrom === undefined ? [] : [{ value: warnFrom, color: "orange" }];
  return [{ value: null, color: "green" }, ...warn, { value: limit, color: "red" }];
}

function thresholds(steps: Threshold[]): ThresholdsConfigBuilder {
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps);
}

function describe<P extends AnyPanel>(panel: P, about: About): P {
  const link = new DashboardLinkBuilder("Runbook")
    .type(DashboardLinkType.Link)
    .url(`\${runbook}#${about.runbook}`)
    .targetBlank(true);
  panel.title(about.title).description(about.description).datasource(DATASOURCE).unit(about.unit).links([link]);
  about.queries.forEach((query, index) => {
    panel.withTarget(query.refId(String.fromCharCode("A".charCodeAt(0) + index)).datasource(DATASOURCE));
  });
  return panel;
}

/** Returns a panel of curves, with their last and largest values in the legend. */
export function curves(about: About, legend: LegendAt = "below"): TimeSeries {
  const panel = describe(new TimeSeries(), about);
  // Counts are whole numbers.
  if (about.unit === "short") panel.decimals(0);
  return panel
    .min(0)
    .axisSoftMax(LEAST_TOP[about.unit]!)
    .lineWidth(2)
    .fillOpacity(10)
    .showPoints(common.VisibilityMode.Never)
    .lineInterpolation(common.LineInterpolation.Linear)
    .thresholds(thresholds(NEUTRAL))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassic))
    .legend(
      new common.VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(common.LegendDisplayMode.Table)
        .placement(legend === "below" ? common.LegendPlacement.Bottom : common.LegendPlacement.Right)
        .calcs(["lastNotNull", "max"]),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder()
        .mode(common.TooltipDisplayMode.Multi)
        .sort(common.SortOrder.Descending),
    );
}

/** Returns a panel of curves, with a line at the value from which an alert fires. */
export function curvesWithLimit(about: About, limit: number, legend: LegendAt = "below"): TimeSeries {
  return curves(about, legend)
    .thresholds(thresholds([{ value: null, color: "transparent" }, { value: limit, color: "red" }]))
    .thresholdsStyle(new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Dashed));
}

/**
 * Returns a panel of stacked areas, for parts of a whole. They have no lines, since the line of an empty part would lie on
 * the next part.
 */
export function stacked(about: About, legend: LegendAt = "beside"): TimeSeries {
  return curves(about, legend)
    .fillOpacity(70)
    .lineWidth(0)
    .stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal).group("A"));
}

/** Gives the series whose names end in these words a color that means the same everywhere. */
export function coloured(panel: TimeSeries, colours: Record<string, string>): TimeSeries {
  for (const [name, colour] of Object.entries(colours)) {
    panel.overrideByRegexp(`/(^|: )${name}$/`, [{ id: "color", value: { mode: "fixed", fixedColor: colour } }]);
  }
  return panel;
}

/** Returns a panel with one number. */
export function number(about: About, steps: Threshold[]): Stat {
  return describe(new Stat(), about)
    .thresholds(thresholds(steps))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .colorMode(common.BigValueColorMode.Value)
    .graphMode(common.BigValueGraphMode.None)
    .justifyMode(common.BigValueJustifyMode.Auto)
    .textMode(common.BigValueTextMode.Value)
    .reduceOptions(lastValue());
}

/** Returns a panel with one bar for each series. */
export function bars(about: About, steps: Threshold[]): BarGauge {
  return describe(new BarGauge(), about)
    .min(0)
    .thresholds(thresholds(steps))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .orientation(common.VizOrientation.Horizontal)
    .displayMode(common.BarGaugeDisplayMode.Gradient)
    .valueMode(common.BarGaugeValueMode.Text)
    .showUnfilled(true)
    .reduceOptions(lastValue());
}

function lastValue(): common.ReduceDataOptionsBuilder {
  return new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]).values(false).fields("");
}

/** Returns a panel with the number of observations in each bucket of a histogram, over time. */
export function heatmap(about: About): Heatmap {
  return describe(new Heatmap(), about)
    .calculate(false)
    .color(
      new HeatmapColorOptionsBuilder()
        .mode(HeatmapColorMode.Scheme)
        .scheme("Oranges")
        .steps(64)
        .reverse(false)
        .fill("dark-orange")
        .exponent(0.5),
    )
    // The panel draws counts, so its unit is a count's. The unit of the rows is set on the axis.
    .yAxis(new YAxisConfigBuilder().unit("s").axisPlacement(common.AxisPlacement.Left).reverse(false))
    .cellGap(1)
    .tooltip(new HeatmapTooltipBuilder().mode(common.TooltipDisplayMode.Single).yHistogram(true))
    .showLegend();
}

/** Returns a panel with a band for each series, colored by its value. */
export function bands(about: About, colours: Record<string, Threshold[]>): StateTimeline {
  const panel = describe(new StateTimeline(), about)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .thresholds(thresholds(NEUTRAL))
    .mergeValues(true)
    .showValue(common.VisibilityMode.Auto)
    .alignValue(common.TimelineValueAlignment.Center)
    .rowHeight(0.8)
    .fillOpacity(80)
    .legend(
      new common.VizLegendOptionsBuilder()
        .showLegend(false)
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .calcs([]),
    );
  for (const [name, steps] of Object.entries(colours)) {
    panel.overrideByName(name, [{ id: "thresholds", value: { mode: "absolute", steps } }]);
  }
  return panel;
}
