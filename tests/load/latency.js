// Compares the latency of the same requests with metrics on and off, in one run: `harness latency`, a part of
// `make soak`.
//
// The rate is fixed and low. `cargo lambda watch` hangs at about 100 requests at once, and a fixed rate keeps a slow
// answer from being paid for by sending fewer requests.

import http from "k6/http";
import { check } from "k6";
import { Trend } from "k6/metrics";

const URLS = { on: __ENV.ON_URL, off: __ENV.OFF_URL };
const OPERATIONS = ["encode", "verify"];
const JSON_BODY = { headers: { "content-type": "application/json" } };

const trends = {};
for (const operation of OPERATIONS) {
  for (const metrics of Object.keys(URLS)) {
    trends[`${operation}_${metrics}`] = new Trend(`${operation}_${metrics}`, true);
  }
}

export const options = {
  scenarios: {
    latency: {
      executor: "constant-arrival-rate",
      // Each iteration is four requests, one after another.
      rate: Number(__ENV.LATENCY_RATE || 5),
      timeUnit: "1s",
      duration: __ENV.LATENCY_DURATION || "30s",
      preAllocatedVUs: 10,
      maxVUs: 20,
    },
  },
  thresholds: {
    checks: ["rate==1"],
    dropped_iterations: ["count==0"],
  },
  summaryTrendStats: ["count", "med", "p(95)", "max"],
};

export default function () {
  // Which goes first alternates, so that neither always finds the machine warmed up by the other.
  const order = __ITER % 2 === 0 ? ["on", "off"] : ["off", "on"];
  for (const metrics of order) {
    const sigils = `${URLS[metrics]}/api/consciousness/sigils`;
    const encoded = timed(`encode_${metrics}`, sigils, { data: { vu: __VU, iteration: __ITER } });
    if (!check(encoded, { encoded: (response) => response.status === 201 })) continue;
    const verified = timed(`verify_${metrics}`, `${sigils}/verify`, { token: encoded.json("sigil.token") });
    check(verified, { verified: (response) => response.status === 200 && response.json("verdict") === "valid" });
  }
}

function timed(trend, url, body) {
  const response = http.post(url, JSON.stringify(body), { ...JSON_BODY, timeout: "10s" });
  trends[trend].add(response.timings.duration);
  return response;
}

export function handleSummary(data) {
  const failed = data.metrics.checks ? data.metrics.checks.values.fails : 0;
  const lines = ["", "            metrics on            metrics off           on / off", "            p50        p95        p50        p95        p50    p95"];
  for (const operation of OPERATIONS) {
    const [on, off] = ["on", "off"].map((metrics) => (data.metrics[`${operation}_${metrics}`] || {}).values);
    if (!on || !off) {
      lines.push(`${operation}: no request was answered`);
      continue;
    }
    const ms = (value) => `${value.toFixed(2)} ms`.padEnd(11);
    const ratio = (stat) => (on[stat] / off[stat]).toFixed(2).padEnd(7);
    lines.push(
      operation.padEnd(12) + ms(on.med) + ms(on["p(95)"]) + ms(off.med) + ms(off["p(95)"]) + ratio("med") + ratio("p(95)"),
    );
  }
  const answered = data.metrics.http_reqs ? data.metrics.http_reqs.values.count : 0;
  lines.push("", `${answered} requests, ${failed} failed checks`, "");
  return { stdout: lines.join("\n") };
}
