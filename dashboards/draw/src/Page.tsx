// A dashboard's page: its panels where the JSON puts them.

import type { GrafanaTheme2 } from "@grafana/data";
import type { Dashboard, Panel as PanelModel } from "@grafana/schema";
import { useEffect, useMemo, useState } from "react";

import pipeline from "../../pipeline.json";
import service from "../../service.json";
import { Panel } from "./Panel";
import { type View, RANGES, readView } from "./view";

const DASHBOARDS = { service, pipeline } as unknown as Record<View["dashboard"], Dashboard>;
const COLUMNS = 24;
const ROW = 38;
const GAP = 8;
const REFRESH_MS = 5000;

export function Page({ theme, width }: { theme: GrafanaTheme2; width: number }) {
  const [now, setNow] = useState(() => Date.now() / 1000);
  const view = useMemo(() => readView(window.location.search, now), [now]);
  useEffect(() => {
    if (!view.live) return;
    const timer = setInterval(() => setNow(Date.now() / 1000), REFRESH_MS);
    return () => clearInterval(timer);
  }, [view.live]);

  const dashboard = DASHBOARDS[view.dashboard];
  const chosen = useMemo(() => values(dashboard), [dashboard]);
  const column = (width - GAP) / COLUMNS;
  const panels = (dashboard.panels ?? []) as PanelModel[];
  const bottom = Math.max(...panels.map(({ gridPos }) => gridPos!.y + gridPos!.h));
  return (
    <main style={{ padding: GAP, width }}>
      <header style={{ display: "flex", gap: 16, alignItems: "baseline", padding: "4px 8px 8px" }}>
        <h1 style={{ fontSize: 20, margin: 0 }}>{dashboard.title}</h1>
        <span style={{ flex: 1, color: theme.colors.text.secondary }}>{dashboard.description}</span>
        {view.live && <Links view={view} colour={theme.colors.text.link} />}
      </header>
      <div style={{ position: "relative", height: bottom * ROW }}>
        {panels.map((model) => {
          const { x, y, w, h } = model.gridPos!;
          const box = { position: "absolute" as const, left: x * column, top: y * ROW };
          const size = { width: w * column - GAP, height: h * ROW - GAP };
          return (
            <div key={model.id} style={box}>
              {model.type === "row" ? (
                <h2 data-row={model.title} style={{ fontSize: 14, margin: "6px 8px" }}>{model.title}</h2>
              ) : (
                <Panel model={model} theme={theme} view={view} chosen={chosen} {...size} />
              )}
            </div>
          );
        })}
      </div>
      <footer style={{ padding: 8, color: theme.colors.text.secondary }}>
        Drawn without a Grafana server, from {view.dashboard}.json, with the component libraries that Grafana publishes:
        panel frames, curves, numbers and bars are theirs. Heatmaps and state timelines are drawn by this project.
      </footer>
    </main>
  );
}

function Links({ view, colour }: { view: View; colour: string }) {
  const link = (dashboard: string, range: number, text: string) => (
    <a key={text} href={`?dashboard=${dashboard}&range=${range}`} style={{ color: colour }}>
      {text}
    </a>
  );
  return (
    <>
      {RANGES.map((range) => link(view.dashboard, range, range < 3600 ? `${range / 60} min` : `${range / 3600} h`))}
      {Object.entries(DASHBOARDS).map(([name, { title }]) => link(name, view.range, title!))}
      <a href="../alerts" style={{ color: colour }}>
        Alerts
      </a>
    </>
  );
}

/** What each variable is set to at first: what is chosen in the JSON, and otherwise all. */
function values(dashboard: Dashboard): Map<string, string> {
  return new Map(
    (dashboard.templating?.list ?? []).map((variable) => {
      const current = [variable.current?.value ?? variable.query ?? ""].flat().map(String);
      const all = current.includes("$__all");
      return [variable.name, all ? (variable.allValue ?? ".*") : current.join("|")];
    }),
  );
}
