// Describes a dashboard of this package in the terms of Grafana's published schema, which has one type for all dashboards
// and one for each kind of panel.

import type { GraphFieldConfig } from "@grafana/schema";
import type { Options as BarGauge } from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type { FieldConfig as HeatmapField, Options as Heatmap } from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type { Options as Stat } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { FieldConfig as StateTimelineField, Options as StateTimeline } from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type { Options as TimeSeries } from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
import type * as schema from "@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen";

/** A type as it is written in JSON: a member of an enumeration becomes its value. */
type Json<T> = T extends string
  ? `${T}`
  : T extends (infer Item)[]
    ? Json<Item>[]
    : T extends object
      ? { [Key in keyof T]: Json<T[Key]> }
      : T;

interface PrometheusQuery {
  refId: string;
  datasource: { type: "prometheus"; uid: string };
  expr: string;
  legendFormat: string;
  format?: "time_series" | "table" | "heatmap";
  range?: boolean;
  instant?: boolean;
}

type PanelOf<Type extends string, Options, Custom = never> = Omit<
  schema.Panel,
  "type" | "options" | "fieldConfig" | "targets" | "id" | "gridPos"
> & {
  type: Type;
  id: number;
  gridPos: schema.GridPos;
  options: Options;
  targets: PrometheusQuery[];
  fieldConfig: Omit<schema.FieldConfigSource, "defaults"> & {
    defaults: Omit<schema.FieldConfig, "custom"> & { custom?: Custom };
  };
};

export type Dashboard = Json<
  Omit<schema.Dashboard, "panels"> & {
    panels: (
      | schema.RowPanel
      | PanelOf<"timeseries", TimeSeries, GraphFieldConfig>
      | PanelOf<"stat", Partial<Stat>>
      | PanelOf<"bargauge", Partial<BarGauge>>
      | PanelOf<"heatmap", Partial<Heatmap>, HeatmapField>
      | PanelOf<"state-timeline", Partial<StateTimeline>, StateTimelineField>
    )[];
  }
>;
