// Puts panels into a dashboard: ids, places and what is the same for all dashboards.

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

/** A panel as the layout needs it: with a place and an id still to be given. */
interface Placeable extends Builder<Panel> {
  id(id: number): this;
  gridPos(place: { x: number; y: number; w: number; h: number }): this;
}

/** Panels side by side, of one height, under a title. */
export interface Row {
  title: string;
  height: number;
  /** Each with its width; a line of the grid has 24 columns. */
  panels: [width: number, panel: Placeable][];
}

const COLUMNS = 24;

/** The dashboard with these rows, one below the other. */
export function dashboard(uid: string, title: string, description: string, rows: Row[]): Dashboard {
  const builder = new DashboardBuilder(title)
    .uid(uid)
    .description(description)
    .tags(["sigils"])
    // Kept in code: what is changed in the browser would be lost with the next import.
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

  // The SDK gives no ids, and Grafana would give new ones at every import, so that links to a panel would break.
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
  // The SDK gives every variable the members of an interval variable, which the schema of the others does not have.
  for (const variable of built.templating.list ?? []) {
    delete variable.auto;
    delete variable.auto_min;
    delete variable.auto_count;
  }
  return built;
}
