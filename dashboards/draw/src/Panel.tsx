// Shows one panel: its frame, which is Grafana's PanelChrome, and the drawing that its type asks for.

import { type DataFrame, type GrafanaTheme2, LoadingState } from "@grafana/data";
import { type Panel as PanelModel, type VizLegendOptions, LegendDisplayMode } from "@grafana/schema";
import { PanelChrome } from "@grafana/ui";
import { useEffect, useState } from "react";

import { applied } from "./fields";
import { Bands } from "./panels/Bands";
import { Bars } from "./panels/Bars";
import { Curves } from "./panels/Curves";
import { Heatmap } from "./panels/Heatmap";
import { Number } from "./panels/Number";
import { type Target, Unreachable, ask } from "./prometheus";
import { type View, interpolate } from "./view";

interface Props {
  model: PanelModel;
  theme: GrafanaTheme2;
  view: View;
  chosen: Map<string, string>;
  /** Called if Prometheus fails rather than the panel's query. The panel goes on showing its data. */
  onUnreachable: (reason: Unreachable) => void;
  width: number;
  height: number;
}

export function Panel({ model, theme, view, chosen, onUnreachable, width, height }: Props) {
  const [frames, setFrames] = useState<DataFrame[]>();
  const [error, setError] = useState<string>();
  useEffect(() => {
    let outdated = false;
    Promise.all((model.targets as unknown as Target[]).map((target) => ask(target, view, chosen))).then(
      (answers) => {
        if (outdated) return;
        setFrames(applied(answers.flat(), model.fieldConfig as never, theme));
        setError(undefined);
      },
      (reason: Error) => {
        if (outdated) return;
        if (reason instanceof Unreachable) onUnreachable(reason);
        else setError(reason.message);
      },
    );
    return () => {
      outdated = true;
    };
  }, [model, view, chosen, theme, onUnreachable]);

  const state = error !== undefined ? "error" : frames === undefined ? "loading" : "drawn";
  return (
    <section data-panel={model.title} data-state={state} style={{ width, height }}>
      <PanelChrome
        title={model.title}
        description={() => interpolate(model.description ?? "", view, chosen)}
        loadingState={error !== undefined ? LoadingState.Error : LoadingState.Done}
        statusMessage={error}
        width={width}
        height={height}
      >
        {(innerWidth, innerHeight) => {
          if (error !== undefined) return <Note text={error} colour={theme.colors.error.text} />;
          // While the frame has no size, it has not been laid out, and there is nothing to draw on.
          if (frames === undefined || innerWidth <= 0 || innerHeight <= 0) return null;
          if (frames.length === 0) return <Note text="No data" colour={theme.colors.text.secondary} />;
          return draw(model, frames, theme, view, innerWidth, innerHeight);
        }}
      </PanelChrome>
    </section>
  );
}

function Note({ text, colour }: { text: string; colour: string }) {
  return <div style={{ height: "100%", display: "grid", placeItems: "center", color: colour }}>{text}</div>;
}

// Width in pixels below which a table has no room beside a plot, and few rows have room below it.
const TABLE_BESIDE_FROM = 400;

function legendOf(model: PanelModel, width: number): VizLegendOptions {
  const { legend } = model.options as { legend: VizLegendOptions };
  if (legend.placement === "bottom" || width >= TABLE_BESIDE_FROM) return legend;
  return { ...legend, placement: "bottom", displayMode: LegendDisplayMode.List, calcs: [] };
}

function draw(model: PanelModel, frames: DataFrame[], theme: GrafanaTheme2, view: View, width: number, height: number) {
  const size = { theme, width, height };
  switch (model.type) {
    case "timeseries":
      return <Curves frames={frames} legend={legendOf(model, width)} view={view} width={width} height={height} />;
    case "stat":
      return <Number frame={frames[0]!} {...size} />;
    case "bargauge":
      return <Bars frames={frames} {...size} />;
    case "heatmap":
      return <Heatmap frames={frames} view={view} {...size} />;
    case "state-timeline":
      return <Bands frames={frames} view={view} {...size} />;
    default:
      throw new Error(`panels of the type ${model.type} cannot be drawn`);
  }
}
