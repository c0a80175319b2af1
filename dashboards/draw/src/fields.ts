// Applies a panel's field configuration to its data, with Grafana's own function.

import {
  type DataFrame,
  type FieldConfigPropertyItem,
  type FieldConfigSource,
  type GrafanaTheme2,
  applyFieldOverrides,
  identityOverrideProcessor,
  Registry,
} from "@grafana/data";

/**
 * Returns a registry of the options that a panel sets. Grafana's own registry is part of its server's front end and is not
 * published, and an option that no registry has takes no effect.
 */
function registry({ defaults, overrides }: FieldConfigSource): Registry<FieldConfigPropertyItem> {
  const overridden = overrides.flatMap((override) => override.properties.map((property) => property.id));
  const { custom, ...standard } = defaults;
  const option = (id: string, path: string, isCustom: boolean): FieldConfigPropertyItem => ({
    id,
    path,
    isCustom,
    name: id,
    editor: () => null,
    override: () => null,
    process: identityOverrideProcessor,
    shouldApply: () => true,
    settings: {},
  });
  return new Registry(() => [
    ...[...new Set([...Object.keys(standard), ...overridden])].map((id) => option(id, id, false)),
    ...Object.keys(custom ?? {}).map((name) => option(`custom.${name}`, name, true)),
  ]);
}

export function applied(data: DataFrame[], fieldConfig: FieldConfigSource, theme: GrafanaTheme2): DataFrame[] {
  return applyFieldOverrides({
    data,
    fieldConfig,
    fieldConfigRegistry: registry(fieldConfig),
    replaceVariables: (text) => text,
    theme,
    timeZone: "browser",
  });
}

/** Returns the field with the values of a series. */
export function valueField(frame: DataFrame) {
  return frame.fields[1]!;
}
