// Draws Grafana's BigValue.

import { type DataFrame, type GrafanaTheme2, reduceField } from "@grafana/data";
import { BigValue, BigValueColorMode, BigValueGraphMode, BigValueTextMode } from "@grafana/ui";

import { valueField } from "../fields";

export function Number(props: { frame: DataFrame; theme: GrafanaTheme2; width: number; height: number }) {
  const field = valueField(props.frame);
  const { lastNotNull } = reduceField({ field, reducers: ["lastNotNull"] });
  return (
    <BigValue
      value={field.display!(lastNotNull)}
      colorMode={BigValueColorMode.Value}
      graphMode={BigValueGraphMode.None}
      textMode={BigValueTextMode.Value}
      theme={props.theme}
      width={props.width}
      height={props.height}
    />
  );
}
