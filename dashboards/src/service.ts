// The dashboard of the service: the clients' requests, the answers, their latency, and what the service depends on.

import { type Row, dashboard } from "./layout.js";
import { type About, bands, badFrom, coloured, curves, curvesWithLimit, heatmap, number, NEUTRAL, stacked } from "./panels.js";
import { buckets, curve, FAILED, OF_FUNCTIONS, quantile, rate, risen, risenInAnHour, series, value } from "./query.js";

// Share of requests that may fail: 99.9 % must succeed. The alerts' burn rates are multiples of it.
const ERROR_BUDGET = 0.001;

// Requests over HTTP: all invocations except those of gc, which the schedule starts. If gc has not run yet, nothing is
// subtracted.
const requestsPerSecond = `(sum(${rate("lambda_invocations_total")}) - (sum(${rate("sigil_gc_total")}) or vector(0)))`;
const requestsInRange = `(sum(${risen("lambda_invocations_total")}) - (sum(${risen("sigil_gc_total")}) or vector(0)))`;

// Until a first run has succeeded the gauge is 0, which would be shown as decades ago.
const SINCE_GC_SUCCESS = `time() - max(${series("sigil_gc_last_success_timestamp_seconds")} > 0)`;

const VERDICTS = {
  valid: "green",
  tampered: "orange",
  bad_signature: "yellow",
  unknown: "purple",
  revoked: "blue",
  expired: "#8e8e8e",
};
// Warm colors are for the service's faults, cold ones for the clients'.
const REASONS = {
  throttled: "yellow",
  circuit_open: "orange",
  unavailable: "red",
  damaged: "dark-red",
  malformed: "blue",
  invalid: "light-blue",
  unsupported_media_type: "dark-blue",
  unknown: "purple",
  conflict: "light-purple",
  too_large: "dark-purple",
  not_found: "light-green",
  method_not_allowed: "green",
  unsupported_event: "dark-green",
};
const OPERATIONS = { put: "green", get: "blue", update: "purple", query: "yellow", delete: "orange" };
const OUTCOMES = { ok: "green", too_large: "blue", throttled: "yellow", timeout: "orange", unavailable: "red" };
const STATES = { closed: "green", half_open: "orange", open: "red" };

function quantiles(metric: string, about: Omit<About, "unit" | "queries">) {
  const queries = [0.5, 0.95, 0.99].map((q) => curve(quantile(q, metric), `p${Math.round(q * 100)}`));
  return curvesWithLimit({ ...about, unit: "s", queries }, 0.5, "beside");
}

const overview: Row = {
  title: "Overview",
  height: 4,
  panels: [
    [4, number({
      title: "Sigils encoded",
      description: "Sigils that were created, within the time range: a count, not an estimate.",
      runbook: "traffic",
      unit: "locale",
      queries: [value(`sum(${risen("sigil_encode_total")})`, "encoded")],
    }, NEUTRAL).decimals(0)],
    [4, number({
      title: "Tokens verified",
      description: "Tokens that got a verdict, whatever it was, within the time range: a count, not an estimate.",
      runbook: "traffic",
      unit: "locale",
      queries: [value(`sum(${risen("sigil_verify_total")})`, "verified")],
    }, NEUTRAL).decimals(0)],
    [4, number({
      title: "Failed requests",
      description: "Share of requests in the time range that failed by the service's fault. 0.1 % may.",
      runbook: "sigilerrorbudgetfastburn",
      unit: "percentunit",
      queries: [value(`(sum(${risen("sigil_error_total", FAILED)}) or vector(0)) / ${requestsInRange}`, "failed")],
    }, badFrom(0.01, ERROR_BUDGET)).decimals(2)],
    [4, number({
      title: "Open circuit breakers",
      description: "Live environments that refuse requests because DynamoDB has failed repeatedly.",
      runbook: "sigilcircuitbreakeropen",
      unit: "short",
      queries: [value(`sum(${series("sigil_circuit_breaker_state", 'state="open"')})`, "open")],
    }, badFrom(1)).decimals(0)],
    [4, number({
      title: "Since last gc success",
      description: "Time since a gc run last succeeded. It is scheduled every hour.",
      runbook: "sigilgcoverdue",
      unit: "s",
      queries: [value(SINCE_GC_SUCCESS, "since")],
    }, badFrom(9000, 4500)).decimals(1)],
    [4, number({
      title: "Live environments",
      description: "Execution environments that have published within STATS_WRITER_IDLE and have not closed.",
      runbook: "environments",
      unit: "short",
      queries: [value(`sum(${series("prometheus_dynamodb_writers", 'state="live"')})`, "live")],
    }, NEUTRAL).decimals(0)],
  ],
};

const traffic: Row = {
  title: "Traffic",
  height: 9,
  panels: [
    [12, curves({
      title: "Sigils encoded per second",
      description:
        "Sigils that were created. The second curve is the mean of five minutes, of every job.",
      runbook: "traffic",
      unit: "reqps",
      queries: [
        curve(`sum(${rate("sigil_encode_total")})`, "encoded"),
        curve("rate(sigil_encode_total[5m])", "{{job}}, over 5 minutes"),
      ],
    })],
    [12, curvesWithLimit({
      title: "Encode latency p95",
      description:
        "95 % of the requests to encode were answered within this time. The second curve is over five minutes and every job. From 0.5 s on it is an alert.",
      runbook: "sigillatencyhigh",
      unit: "s",
      queries: [
        curve(quantile(0.95, "sigil_encode_duration_seconds"), "p95"),
        curve("histogram_quantile(0.95, sum(rate(sigil_encode_duration_seconds_bucket[5m])) by (le))", "p95, over 5 minutes"),
      ],
    }, 0.5)],
    [12, coloured(stacked({
      title: "Verifications by verdict",
      description: "Tokens that were verified, by what came of it. A verdict is an answer, not an error.",
      runbook: "traffic",
      unit: "reqps",
      queries: [curve(`sum by (verdict) (${rate("sigil_verify_total")})`, "{{verdict}}")],
    }), VERDICTS)],
    [12, coloured(stacked({
      title: "Errors",
      description: "Requests and gc runs that failed, by reason, whoever's fault it was.",
      runbook: "errors",
      unit: "reqps",
      queries: [curve(`sum by (reason) (${rate("sigil_error_total")}) > 0`, "{{reason}}")],
    }), REASONS)],
    [12, curves({
      title: "GC cycles",
      description: "Runs of gc within the last hour, at each moment. The schedule starts one every hour.",
      runbook: "sigilgcoverdue",
      unit: "short",
      queries: [curve(`sum(${risenInAnHour("sigil_gc_total")})`, "runs in the last hour")],
    })],
    [12, curves({
      title: "Revocations",
      description: "Sigils that were revoked. Revoking one again does not count.",
      runbook: "traffic",
      unit: "reqps",
      queries: [curve(`sum(${rate("sigil_revoke_total")})`, "revoked")],
    })],
  ],
};

const errors: Row = {
  title: "Errors",
  // During an incident each operation fails for several reasons, so the legend is long.
  height: 12,
  panels: [
    [12, coloured(stacked({
      title: "Error ratio by operation and reason",
      description: "Share of all requests that failed, by what was asked for and why it failed, whoever's fault it was.",
      runbook: "errors",
      unit: "percentunit",
      queries: [
        curve(
          `sum by (operation, reason) (${rate("sigil_error_total", 'operation!="gc"')}) / on () group_left () ${requestsPerSecond} > 0`,
          "{{operation}}: {{reason}}",
        ),
      ],
    }), REASONS)],
    [12, curvesWithLimit({
      title: "Error budget burn rate",
      description:
        "How many times faster than allowed requests fail by the service's fault. At 1 the budget of 0.1 % lasts exactly; from 14.4 on, kept up for an hour, it pages.",
      runbook: "sigilerrorbudgetfastburn",
      unit: "none",
      queries: [
        curve(`(sum(${rate("sigil_error_total", FAILED)}) or vector(0)) / ${requestsPerSecond} / ${ERROR_BUDGET}`, "burn rate"),
      ],
    }, 14.4)],
  ],
};

const latency: Row = {
  title: "Latency",
  height: 9,
  panels: [
    [12, quantiles("sigil_encode_duration_seconds", {
      title: "Encode latency",
      description: "Within what time half, 95 % and 99 % of the requests to encode were answered, whatever the answer.",
      runbook: "sigillatencyhigh",
    })],
    [12, quantiles("sigil_verify_duration_seconds", {
      title: "Verify latency",
      description: "Within what time half, 95 % and 99 % of the requests to verify were answered, whatever the answer.",
      runbook: "sigillatencyhigh",
    })],
    [12, heatmap({
      title: "Encode latency heatmap",
      description: "How many requests to encode took how long: two bands show two kinds of answers.",
      runbook: "sigillatencyhigh",
      unit: "short",
      queries: [buckets("sigil_encode_duration_seconds")],
    })],
    [12, heatmap({
      title: "Verify latency heatmap",
      description: "How many requests to verify took how long: two bands show two kinds of answers.",
      runbook: "sigillatencyhigh",
      unit: "short",
      queries: [buckets("sigil_verify_duration_seconds")],
    })],
  ],
};

const gc: Row = {
  title: "Garbage collection",
  height: 8,
  panels: [
    [8, stacked({
      title: "Records deleted",
      description: "Records that gc deleted after their retention within the last hour, at each moment, by reason.",
      runbook: "sigilgcoverdue",
      unit: "short",
      queries: [curve(`sum by (reason) (${risenInAnHour("sigil_gc_deleted_total")})`, "{{reason}}")],
    }, "below")],
    [8, curves({
      title: "GC duration",
      description:
        "How long the runs of the last hour took. A run stops by itself before its time-out of 60 s, and the next goes on.",
      runbook: "sigilgcoverdue",
      unit: "s",
      queries: [
        curve(`histogram_quantile(0.95, sum by (le) (${risenInAnHour("sigil_gc_duration_seconds_bucket")}))`, "p95"),
      ],
    })],
    [8, curvesWithLimit({
      title: "Age of the last successful gc run",
      description: "Rises by itself and falls with each run that succeeds. Two runs missed are an alert.",
      runbook: "sigilgcoverdue",
      unit: "s",
      queries: [curve(SINCE_GC_SUCCESS, "age")],
    }, 9000)],
  ],
};

const storage: Row = {
  title: "Storage",
  height: 9,
  panels: [
    [12, coloured(curves({
      title: "Storage latency p95",
      description: "95 % of the calls to the table of sigils ended within this time, with all their attempts.",
      runbook: "storage",
      unit: "s",
      queries: [
        curve(quantile(0.95, "sigil_storage_operation_duration_seconds", ["operation"]) + " >= 0", "{{operation}}"),
      ],
    }, "beside"), OPERATIONS)],
    [12, coloured(stacked({
      title: "Storage calls by outcome",
      description: "Calls to the table of sigils, by how they ended. A call that the breaker refused is none.",
      runbook: "storage",
      unit: "ops",
      queries: [
        curve(`sum by (outcome) (${rate("sigil_storage_operation_duration_seconds_count")})`, "{{outcome}}"),
      ],
    }), OUTCOMES)],
    [12, curves({
      title: "Retries and throttles",
      description: "Attempts after a call's first, and attempts that DynamoDB throttled.",
      runbook: "sigildynamodbthrottled",
      unit: "ops",
      queries: [
        curve(`sum by (operation) (${rate("sigil_storage_retries_total")}) > 0`, "{{operation}} retried"),
        curve(`sum by (operation) (${rate("sigil_storage_throttles_total")}) > 0`, "{{operation}} throttled"),
      ],
    }, "beside")],
    [12, bands({
      title: "Circuit breakers",
      description:
        "How many live environments have their circuit breaker in each state. One that got no request since keeps the state that it published last.",
      runbook: "sigilcircuitbreakeropen",
      unit: "short",
      queries: [curve(`sum by (state) (${series("sigil_circuit_breaker_state")})`, "{{state}}")],
    }, Object.fromEntries(Object.entries(STATES).map(([state, colour]) => [
      state,
      [{ value: null, color: "transparent" }, { value: 1, color: colour }],
    ])))],
  ],
};

const functions: Row = {
  title: "Functions",
  height: 9,
  panels: [
    [8, curves({
      title: "Invocations",
      description: "Invocations that the functions have received.",
      runbook: "environments",
      unit: "ops",
      queries: [curve(`sum by (function) (${rate("lambda_invocations_total", OF_FUNCTIONS)})`, "{{function}}")],
    })],
    [8, curves({
      title: "Cold starts",
      description: "Execution environments that have started: each makes one request wait.",
      runbook: "environments",
      unit: "ops",
      queries: [curve(`sum by (function) (${rate("lambda_cold_starts_total", OF_FUNCTIONS)})`, "{{function}}")],
    })],
    [8, curves({
      title: "Initialization p95",
      description: "Time from the start of the program until it was ready for its first invocation.",
      runbook: "environments",
      unit: "s",
      queries: [curve(quantile(0.95, "lambda_init_duration_seconds", ["function"], OF_FUNCTIONS) + " >= 0", "{{function}}")],
    })],
    [9, stacked({
      title: "Environments",
      description:
        "Execution environments whose snapshots are not folded: live, idle for longer than STATS_WRITER_IDLE, closed by a last publish, or sealed by gc.",
      runbook: "environments",
      unit: "short",
      queries: [curve(`sum by (state) (${series("prometheus_dynamodb_writers")})`, "{{state}}")],
    })],
    [5, curves({
      title: "Memory",
      description: "Resident memory of all live environments.",
      runbook: "environments",
      unit: "bytes",
      queries: [curve(`sum by (function) (${series("process_resident_memory_bytes", OF_FUNCTIONS)})`, "{{function}}")],
    })],
    [5, curves({
      title: "CPU",
      description: "CPU time of all environments in each second: 1 is one core.",
      runbook: "environments",
      unit: "percentunit",
      queries: [curve(`sum by (function) (${rate("process_cpu_seconds_total", OF_FUNCTIONS)})`, "{{function}}")],
    })],
    [5, curves({
      title: "Failed secret renewals",
      description: "Attempts to read a secret again that failed; the value before it stays in use.",
      runbook: "sigilsecretrenewalfailing",
      unit: "ops",
      queries: [curve(`sum(${rate("secret_renewal_failures_total")})`, "failed")],
    })],
  ],
};

export const service = dashboard(
  "sigils-service",
  "Sigils",
  "What clients ask of the sigil service, what they get and how fast, and what it stands on.",
  [overview, traffic, errors, latency, gc, storage, functions],
);
