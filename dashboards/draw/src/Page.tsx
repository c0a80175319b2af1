// Shows a dashboard: its panels where the JSON places them, or one below the other in a narrow window.

import { type GrafanaTheme2, dateTimeFormat } from "@grafana/data";
import type { Dashboard, Panel as PanelModel } from "@grafana/schema";
import { useMemo } from "react";

import pipeline from "../../pipeline.json";
import service from "../../service.json";
import { Alerts } from "./Alerts";
import { Panel } from "./Panel";
import type { Unreachable } from "./prometheus";
import { usePrometheus } from "./usePrometheus";
import { type View, RANGES, readView } from "./view";

const DASHBOARDS = { service, pipeline } as unknown as Record<"service" | "pipeline", Dashboard>;
const ALERTS = { title: "Alerts", description: "What is wrong now, or may soon be, and what is watched." };
const COLUMNS = 24;
const ROW = 38;
const GAP = 8;
/** Width in pixels below which panels side by side would have no room for their numbers. */
const ONE_COLUMN_BELOW = 800;

export function Page({ theme, width }: { theme: GrafanaTheme2; width: number }) {
  const { now, since, fault, onUnreachable } = usePrometheus();
  const view = useMemo(() => readView(window.location.search, now), [now]);
  const shown = view.dashboard === "alerts" ? ALERTS : DASHBOARDS[view.dashboard];
  const secondary = { color: theme.colors.text.secondary };
  return (
    <main style={{ padding: GAP, width, boxSizing: "border-box" }}>
      <header style={{ display: "flex", flexWrap: "wrap", gap: "4px 16px", alignItems: "baseline", padding: "4px 8px 8px" }}>
        <h1 style={{ fontSize: 20, margin: 0 }}>{shown.title}</h1>
        <span style={{ flex: "1 1 300px", ...secondary }}>{shown.description}</span>
        <Links view={view} colour={theme.colors.text.link} />
        <span style={secondary}>{times(view)}</span>
      </header>
      {fault !== undefined && (
        <p role="alert" style={{ margin: "0 8px 8px", padding: 8, background: theme.colors.error.transparent }}>
          Prometheus has not answered since {format(since)}: {fault.message}. Nothing below is newer than that.
        </p>
      )}
      {since !== undefined &&
        (view.dashboard === "alerts" ? (
          <Alerts theme={theme} now={now} onUnreachable={onUnreachable} />
        ) : (
          <Panels dashboard={DASHBOARDS[view.dashboard]} {...{ theme, view, width, onUnreachable }} />
        ))}
      <footer style={{ padding: 8, ...secondary }}>
        {view.dashboard === "alerts"
          ? "From the rules that Prometheus has loaded: alerts.yml."
          : `Drawn without a Grafana server, from ${view.dashboard}.json, with the component libraries that Grafana publishes:
             panel frames, curves, numbers and bars are theirs. Heatmaps and state timelines are drawn by this project.`}
      </footer>
    </main>
  );
}

interface PanelsProps {
  dashboard: Dashboard;
  theme: GrafanaTheme2;
  view: View;
  width: number;
  onUnreachable: (reason: Unreachable) => void;
}

function Panels({ dashboard, theme, view, width, onUnreachable }: PanelsProps) {
  const chosen = useMemo(() => values(dashboard), [dashboard]);
  const placed = places(dashboard, width < ONE_COLUMN_BELOW);
  const column = (width - GAP) / COLUMNS;
  const bottom = Math.max(...placed.map(({ y, h }) => y + h));
  return (
    <div style={{ position: "relative", height: bottom * ROW }}>
      {placed.map(({ model, x, y, w, h }) => {
        const box = { position: "absolute" as const, left: x * column, top: y * ROW };
        const size = { width: w * column - GAP, height: h * ROW - GAP };
        return (
          <div key={model.id} style={box}>
            {model.type === "row" ? (
              <h2 data-row={model.title} style={{ fontSize: 14, margin: "6px 8px" }}>{model.title}</h2>
            ) : (
              <Panel {...{ model, theme, view, chosen, onUnreachable }} {...size} />
            )}
          </div>
        );
      })}
    </div>
  );
}

function Links({ view, colour }: { view: View; colour: string }) {
  const link = (dashboard: string, range: number, text: string, chosen: boolean) => (
    <a
      key={text}
      href={`?dashboard=${dashboard}&range=${range}`}
      aria-current={chosen ? "page" : undefined}
      style={{ color: colour, fontWeight: chosen ? 700 : 400 }}
    >
      {text}
    </a>
  );
  const length = (range: number) => (range < 3600 ? `${range / 60} min` : `${range / 3600} h`);
  const range = view.live ? view.range : RANGES[0]!;
  return (
    <nav style={{ display: "flex", flexWrap: "wrap", gap: "4px 16px" }}>
      {RANGES.map((range) => link(view.dashboard, range, length(range), view.live && range === view.range))}
      {Object.entries(DASHBOARDS).map(([name, { title }]) => link(name, range, title!, name === view.dashboard))}
      {link("alerts", range, ALERTS.title, view.dashboard === "alerts")}
    </nav>
  );
}

/** Returns the time that the page shows, and the time zone of the axes. */
function times(view: View): string {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const zone = `${timeZone} (UTC${dateTimeFormat(view.to * 1000, { format: "Z" })})`;
  return view.live ? `as of ${format(view.to)}, ${zone}` : `${format(view.from)} to ${format(view.to)}, ${zone}`;
}

function format(seconds: number | undefined): string {
  return seconds === undefined ? "this page was opened" : dateTimeFormat(seconds * 1000, { format: "YYYY-MM-DD HH:mm:ss" });
}

interface Placed {
  model: PanelModel;
  x: number;
  y: number;
  w: number;
  h: number;
}

function places(dashboard: Dashboard, oneColumn: boolean): Placed[] {
  let below = 0;
  return ((dashboard.panels ?? []) as PanelModel[]).map((model) => {
    const { x, y, w, h } = model.gridPos!;
    if (!oneColumn) return { model, x, y, w, h };
    const top = below;
    below += h;
    return { model, x: 0, y: top, w: COLUMNS, h };
  });
}

/** Returns each variable's initial value: the choice in the JSON, or else all. */
function values(dashboard: Dashboard): Map<string, string> {
  return new Map(
    (dashboard.templating?.list ?? []).map((variable) => {
      const current = [variable.current?.value ?? variable.query ?? ""].flat().map(String);
      const all = current.includes("$__all");
      return [variable.name, all ? (variable.allValue ?? ".*") : current.join("|")];
    }),
  );
}
