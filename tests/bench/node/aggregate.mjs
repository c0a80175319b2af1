// What prom-client's AggregatorRegistry makes of as many workers' metrics.
//
//     aggregate.mjs <workers> <counters> <gauges> <histograms>
//
// In a cluster the primary asks each worker for its metrics, which arrive as JSON; here they lie ready as text. Reading that
// text, aggregating and rendering is what is measured. Says "ready", and then answers each line that it reads: "scrape" with
// the CPU time that one took, "page" with the page. The counts are those of tests/src/bench/population.rs.

import { createInterface } from "node:readline";
import { AggregatorRegistry, Counter, Gauge, Histogram, Registry } from "prom-client";

const [workers, counters, gauges, histograms] = process.argv.slice(2).map(Number);
const BOUNDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];

const registry = new Registry();
const registers = [registry];
const requests = new Counter({
  name: "bench_requests_total",
  help: "Requests by route.",
  labelNames: ["route", "code"],
  registers,
});
const inFlight = new Gauge({
  name: "bench_in_flight",
  help: "Requests that are worked on, by route.",
  labelNames: ["route"],
  registers,
});
const duration = new Histogram({
  name: "bench_duration_seconds",
  help: "Time that requests took, by route.",
  labelNames: ["route"],
  buckets: BOUNDS,
  registers,
});

const payloads = [];
for (let worker = 0; worker < workers; worker++) {
  registry.resetMetrics();
  for (let label = 0; label < counters; label++) {
    requests.labels(`/route/${label}`, "200").inc(1 + ((worker * 31 + label * 7) % 1000));
  }
  for (let label = 0; label < gauges; label++) {
    inFlight.labels(`/route/${label}`).set((worker + label) % 50);
  }
  for (let label = 0; label < histograms; label++) {
    [...BOUNDS, 10].forEach((value, bucket) => {
      for (let left = (worker + 3 * label + bucket) % 3; left > 0; left--) duration.labels(`/route/${label}`).observe(value);
    });
  }
  payloads.push(JSON.stringify(await registry.getMetricsAsJSON()));
}

const scrape = () => AggregatorRegistry.aggregate(payloads.map((payload) => JSON.parse(payload))).metrics();

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "page") {
    console.log(JSON.stringify({ page: await scrape() }));
  } else {
    const before = process.cpuUsage();
    await scrape();
    const { user, system } = process.cpuUsage(before);
    console.log(JSON.stringify({ milliseconds: (user + system) / 1000 }));
  }
}
