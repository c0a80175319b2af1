// Draws Grafana's BarGauge, one for each series.

import { type DataFrame, type DisplayValue, type GrafanaTheme2, VizOrientation, getFieldDisplayName, reduceField } from "@grafana/data";
import { BarGaugeDisplayMode, BarGaugeValueMode } from "@grafana/schema";
import { BarGauge, VizRepeater } from "@grafana/ui";

import { valueField } from "../fields";

interface Bar {
  display: DisplayValue;
  frame: DataFrame;
}

export function Bars(props: { frames: DataFrame[]; theme: GrafanaTheme2; width: number; height: number }) {
  const bars = (): Bar[] =>
    props.frames.map((frame) => {
      const field = valueField(frame);
      const { lastNotNull } = reduceField({ field, reducers: ["lastNotNull"] });
      return { display: { ...field.display!(lastNotNull), title: getFieldDisplayName(field, frame) }, frame };
    });
  return (
    <VizRepeater
      source={props.frames}
      getValues={bars}
      renderValue={({ value, width, height }) => {
        const field = valueField(value.frame);
        return (
          <BarGauge
            value={value.display}
            field={field.config}
            display={field.display}
            orientation={VizOrientation.Horizontal}
            displayMode={BarGaugeDisplayMode.Gradient}
            valueDisplayMode={BarGaugeValueMode.Text}
            showUnfilled={true}
            isOverflow={false}
            theme={props.theme}
            width={width}
            height={height}
          />
        );
      }}
      orientation={VizOrientation.Horizontal}
      renderCounter={0}
      minVizHeight={16}
      width={props.width}
      height={props.height}
    />
  );
}
