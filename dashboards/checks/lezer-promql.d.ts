// The package has types, but does not export them in the way that TypeScript looks for them.
declare module "@prometheus-io/lezer-promql" {
  export const parser: import("@lezer/lr").LRParser;
}
