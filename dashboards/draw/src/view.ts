// Reads the view from the address: the dashboard, the time range, and the values of variables.

export interface View {
  dashboard: "service" | "pipeline" | "alerts";
  /** Start of the time range, in seconds since the epoch, as is its end. */
  from: number;
  to: number;
  /** Distance of a curve's points, in seconds. */
  step: number;
  /** Value of `$__rate_interval`, in seconds. */
  rateInterval: number;
  /** `true` if the time range moves on with the clock. */
  live: boolean;
  /** Length of the time range, in seconds. */
  range: number;
}

// Time between two scrapes of the local bundle, in seconds.
const SCRAPE_INTERVAL = 5;
// Largest number of a curve's points: no more than a small screen can show.
const POINTS = 240;
const YEAR = 366 * 24 * 3600;
export const RANGES = [300, 900, 3600, 21600];

const PARAMETERS = ["dashboard", "range", "from", "to", "rate_interval"];

/** Reads `?dashboard=service&range=300`, or `&from=…&to=…` for a past time. Throws an error about anything wrong in it. */
export function readView(address: string, now: number): View {
  const given = new URLSearchParams(address);
  for (const name of new Set(given.keys())) {
    if (!PARAMETERS.includes(name)) throw new Error(`there is no parameter ${name}: ${PARAMETERS.join(", ")} are known`);
    if (given.getAll(name).length > 1) throw new Error(`${name} is given twice`);
  }
  const seconds = (name: string, most: number): number | undefined => {
    const text = given.get(name);
    if (text === null) return undefined;
    const value = Number(text);
    if (!/^\d+(\.\d+)?$/.test(text) || value < 1 || value > most) {
      throw new Error(`${name} is "${text}": a number of seconds from 1 to ${most} is needed`);
    }
    return value;
  };
  const dashboard = given.get("dashboard") ?? "service";
  if (dashboard !== "service" && dashboard !== "pipeline" && dashboard !== "alerts") {
    throw new Error(`dashboard is "${dashboard}": service, pipeline or alerts is needed`);
  }
  // Times far in the future are wrong as well, such as times in milliseconds.
  const to = seconds("to", Math.ceil(now) + YEAR);
  const from = seconds("from", Math.ceil(now) + YEAR);
  const asked = seconds("range", YEAR);
  if ((to === undefined) !== (from === undefined)) throw new Error("from and to are needed together");
  if (to !== undefined && asked !== undefined) throw new Error("range does not go with from and to");
  const range = to !== undefined && from !== undefined ? to - from : (asked ?? RANGES[0]!);
  if (range < 1 || range > YEAR) throw new Error("from must be before to, by a second at least and a year at most");
  const step = Math.max(1, Math.ceil(range / POINTS));
  return {
    dashboard,
    from: from ?? now - range,
    to: to ?? now,
    step,
    // Four scrapes, as Grafana chooses. With long steps, a window is as long as a step and a scrape, so that no sample lies
    // between two windows.
    rateInterval: Math.max(seconds("rate_interval", YEAR) ?? 4 * SCRAPE_INTERVAL, step + SCRAPE_INTERVAL),
    live: to === undefined,
    range,
  };
}

/** Replaces variables with their values. A dashboard's variable has the value that is chosen at first. */
export function interpolate(text: string, view: View, chosen: Map<string, string>): string {
  return text.replace(/\$(?:\{(\w+)\}|(\w+))/g, (whole, braced: string | undefined, bare: string | undefined) => {
    const name = braced ?? bare!;
    if (name === "__rate_interval") return `${view.rateInterval}s`;
    // The extra millisecond includes a sample at the very start, which Prometheus does not always do.
    if (name === "__range") return `${Math.round(view.range * 1000) + 1}ms`;
    return chosen.get(name) ?? whole;
  });
}
