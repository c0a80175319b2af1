// Applies a panel's field configuration to its data, by Grafana's own function.

import {
  type DataFrame,
  type FieldConfigPropertyItem,
  type FieldConfigSource,
  type GrafanaTheme2,
  applyFieldOverrides,
  identityOverrideProcessor,
  Registry,
} from "@grafana/data";

// Grafana's own registry of options is part of its server's front end and is not published. These are the options that
// the dashboards' overrides use; another one would be left out, so it is an error.
const OVERRIDABLE = ["color", "thresholds"];
const registry = new Registry<FieldConfigPropertyItem>(() =>
  OVERRIDABLE.map((id) => ({
    id,
    path: id,
    name: id,
    editor: () => null,
    override: () => null,
    process: identityOverrideProcessor,
    shouldApply: () => true,
    settings: {},
  })),
);

export function applied(data: DataFrame[], fieldConfig: FieldConfigSource, theme: GrafanaTheme2): DataFrame[] {
  for (const { id } of fieldConfig.overrides.flatMap((override) => override.properties)) {
    if (!OVERRIDABLE.includes(id)) throw new Error(`an override of ${id} cannot be drawn`);
  }
  return applyFieldOverrides({
    data,
    fieldConfig,
    fieldConfigRegistry: registry,
    replaceVariables: (text) => text,
    theme,
    timeZone: "browser",
  });
}

/** The field with the values of a series. */
export function valueField(frame: DataFrame) {
  return frame.fields[1]!;
}
