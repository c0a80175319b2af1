// Parses a PromQL expression into the series that it selects and the operations on them.

import type { SyntaxNode } from "@lezer/common";
import { parser } from "@prometheus-io/lezer-promql";

export interface Matcher {
  label: string;
  operator: string;
  value: string;
}

export interface Selector {
  metric: string;
  matchers: Matcher[];
  /** The range in brackets, as in `[5m]`. */
  range: string | undefined;
  /** The functions and aggregations around the selector, innermost first. */
  within: string[];
}

/** The labels that an aggregation keeps or drops, and the metrics that it aggregates. */
export interface Grouping {
  labels: string[];
  metrics: string[];
}

export interface Query {
  selectors: Selector[];
  groupings: Grouping[];
}

/** Functions that compute how much a counter has risen. */
export const RISES = ["rate", "irate", "increase"];
/** Functions that read a counter at an end of a range. A counter never falls, so the difference of two ends is exact. */
export const ENDS = ["max_over_time", "min_over_time", "last_over_time"];

// Durations that no expression contains, so that a check can tell a variable from a fixed duration.
export const RATE_INTERVAL = "8869990787ms";
const VARIABLES: Record<string, string> = { __rate_interval: RATE_INTERVAL, __range: "6069770749ms" };

/** Replaces Grafana's own variables with values. A dashboard's variables are in strings, which may hold any text. */
function interpolate(expression: string): string {
  return expression.replace(/\$(__\w+)/g, (whole, name: string) => VARIABLES[name] ?? whole);
}

/** Parses an expression. Throws an error with the position if Prometheus would refuse the expression. */
export function parse(template: string): Query {
  const expression = interpolate(template);
  const query: Query = { selectors: [], groupings: [] };
  const text = (node: SyntaxNode) => expression.slice(node.from, node.to);
  const tree = parser.parse(expression);
  tree.iterate({
    enter(reference) {
      const node = reference.node;
      if (node.type.isError) {
        throw new Error(`no PromQL at character ${node.from + 1}: ${template}`);
      }
      if (node.name === "VectorSelector") {
        query.selectors.push(selector(node, text));
      } else if (node.name === "AggregateExpr") {
        const labels = descendants(node.getChild("AggregateModifier"), "LabelName").map(text);
        const metrics = descendants(node.getChild("FunctionCallBody"), "VectorSelector");
        query.groupings.push({ labels, metrics: metrics.map((metric) => selector(metric, text).metric) });
      }
    },
  });
  if (query.selectors.length === 0) {
    throw new Error(`no metric is selected: ${template}`);
  }
  return query;
}

function selector(node: SyntaxNode, text: (node: SyntaxNode) => string): Selector {
  const name = node.getChild("Identifier");
  if (name === null) {
    throw new Error(`a metric without a name: ${text(node)}`);
  }
  const matchers = descendants(node, "UnquotedLabelMatcher").map((matcher) => {
    const part = (kind: string) => matcher.getChild(kind)!;
    return {
      label: text(part("LabelName")),
      operator: text(part("MatchOp")),
      value: text(part("StringLiteral")).slice(1, -1),
    };
  });
  const matrix = node.parent?.name === "MatrixSelector" ? node.parent : undefined;
  const range = matrix && matrix.getChild("NumberDurationLiteralInDurationContext");
  const within: string[] = [];
  for (let around = node.parent; around !== null; around = around.parent) {
    const operator = around.getChild("FunctionIdentifier") ?? around.getChild("AggregateOp");
    if ((around.name === "FunctionCall" || around.name === "AggregateExpr") && operator) {
      within.push(text(operator));
    }
  }
  return { metric: text(name), matchers, range: range ? text(range) : undefined, within };
}

function descendants(node: SyntaxNode | null, name: string): SyntaxNode[] {
  const found: SyntaxNode[] = [];
  node?.cursor().iterate((inner) => {
    if (inner.name === name) found.push(inner.node);
  });
  return found;
}
