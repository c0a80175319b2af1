// What the address asks to see: which dashboard, of which time, and what its variables stand for.

export interface View {
  dashboard: "service" | "pipeline";
  /** Seconds since the epoch. */
  from: number;
  to: number;
  /** What `$__rate_interval` stands for, in seconds. */
  rateInterval: number;
  /** The time range goes on with the clock. */
  live: boolean;
  /** How much of the past is shown, in seconds. */
  range: number;
}

// Four times the interval at which the bundle on a desk is scraped, as Grafana would choose it.
const RATE_INTERVAL = 20;
export const RANGES = [300, 900, 3600, 21600];

/** Reads `?dashboard=service&range=300`, or `&from=…&to=…` for a time that is over. */
export function readView(address: string, now: number): View {
  const given = new URLSearchParams(address);
  const seconds = (name: string): number | undefined => {
    const text = given.get(name);
    if (text === null) return undefined;
    const value = Number(text);
    if (text === "" || !Number.isFinite(value) || value <= 0) throw new Error(`${name}=${text} is no number of seconds`);
    return value;
  };
  const dashboard = given.get("dashboard") ?? "service";
  if (dashboard !== "service" && dashboard !== "pipeline") throw new Error(`there is no dashboard ${dashboard}`);
  const to = seconds("to");
  const from = seconds("from");
  if ((to === undefined) !== (from === undefined)) throw new Error("from and to go together");
  const range = to !== undefined && from !== undefined ? to - from : (seconds("range") ?? RANGES[0]!);
  if (range <= 0) throw new Error("from is not before to");
  return {
    dashboard,
    from: from ?? now - range,
    to: to ?? now,
    rateInterval: seconds("rate_interval") ?? RATE_INTERVAL,
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
