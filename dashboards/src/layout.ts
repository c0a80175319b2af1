// Puts panels into a dashboard, with ids, places and the settings that all dashboards share.

import {
  type Dashboard,
  type Panel,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  RowBuilder,
} from "@grafana/grafana-foundation-sdk/dashboard";
import type { Builder } from "@grafana/grafana-foundation-sdk/cog";

import { VARIABLES } from "./variables.js";

/** A panel as the layout needs it: its id and its place can still be set. */
interface Placeable extends Builder<Panel> {
  id(id: number): this;
  gridPos(place: { x: number; y: number; w: number; h: number }): this;
}

/** Panels of one height, side by side under a title. */
export interface Row {
  title: string;
  height: number;
  /** The panels with their widths, in columns of the grid, which has 24. */
  panels: [width: number, panel: Placeable][];
}

const COLUMNS = 24;

/** Returns a dashboard with these rows, one below the other. */
export function dashboard(uid: string, title: string, description: string, rows: Row[]): Dashboard {
  const builder = new DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags(["sigils"])
    // The dashboards are kept in code: the next import would overwrite changes that are made in the browser.
    .readonly()
    .time({ from: "now-1h", to: "now" })
    .timezone("browser")
    .refresh("30s")
    .tooltip(DashboardCursorSync.Crosshair)
    .variables(VARIABLES)
    .links([
      new DashboardLinkBuilder("Runbook").type(DashboardLinkType.Link).url("${runbook}").targetBlank(true),
      new DashboardLinkBuilder("Sigils")
        .type(DashboardLinkType.Dashboards)
        .tags(["sigils"])
        .keepTime(true)
        .includeVars(true),
    ]);

  // The SDK sets no ids, and Grafana would assign new ones at every import, which would break links to panels.
  let id = 0;
  let y = 0;
  for (const row of rows) {
    builder.withRow(new RowBuilder(row.title).id(++id).gridPos({ x: 0, y: y++, w: COLUMNS, h: 1 }));
    let x = 0;
    for (const [width, panel] of row.panels) {
      if (x + width > COLUMNS) {
        x = 0;
        y += row.height;
      }
      builder.withPanel(panel.id(++id).gridPos({ x, y, w: width, h: row.height }));
      x += width;
    }
    y += row.height;
  }
  const built = builder.build();
  // The SDK gives every variable the members of an interval variable, which the schema allows only there.
  for (const variable of built.templating.list ?? []) {
    delete variable.auto;
    delete variable.auto_min;
    delete variable.auto_count;
  }
  return built;
}
