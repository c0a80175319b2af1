// What the address asks to see: which dashboard, of which time, and what its variables stand for.

export interface View {
  dashboard: "service" | "pipeline" | "alerts";
  /** Seconds since the epoch. */
  from: number;
  to: number;
  /** How far apart a curve's points are, in seconds. */
  step: number;
  /** What `$__rate_interval` stands for, in seconds. */
  rateInterval: number;
  /** The time range goes on with the clock. */
  live: boolean;
  /** How much of the past is shown, in seconds. */
  range: number;
}

// How often the bundle on a desk is scraped, in seconds.
const SCRAPE_INTERVAL = 5;
// A curve has no more points than a small screen shows.
const POINTS = 240;
const YEAR = 366 * 24 * 3600;
export const RANGES = [300, 900, 3600, 21600];

const PARAMETERS = ["dashboard", "range", "from", "to", "rate_interval"];

/** Reads `?dashboard=service&range=300`, or `&from=…&to=…` for a time that is over. What is wrong with it is an error. */
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
  // Times beyond the clock's are wrong as well: milliseconds, for one.
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
    // As Grafana chooses it: four scrapes; and no sample lies between two windows where the steps are longer than that.
    rateInterval: Math.max(seconds("rate_interval", YEAR) ?? 4 * SCRAPE_INTERVAL, step + SCRAPE_INTERVAL),
    live: to === undefined,
    range,
  };
}

/** Puts values where variables are. What is chosen at first for a variable is what it stands for. */
export function interpolate(text: string, view: View, chosen: Map<string, string>): string {
  return text.replace(/\$(?:\{(\w+)\}|(\w+))/g, (whole, braced: string | undefined, bare: string | undefined) => {
    const name = braced ?? bare!;
    if (name === "__rate_interval") return `${view.rateInterval}s`;
    // The millisecond takes in a sample at the very start, as Prometheus does not always.
    if (name === "__range") return `${Math.round(view.range * 1000) + 1}ms`;
    return chosen.get(name) ?? whole;
  });
}
