// What is counted, with prom-client, and its way into the stats table: after a response, once a second at most.
//
// Simplified: the item is only ever written by this process, and nobody reads, merges or collects it. prom-client's
// default metrics, most of which sample the process all the time, stay off.

import { randomUUID } from "node:crypto";
import { PutItemCommand } from "@aws-sdk/client-dynamodb";
import { Counter, Histogram, Registry } from "prom-client";

const INTERVAL_MS = 1000;

export const registry = new Registry();
const registers = [registry];

export const encoded = new Counter({
  name: "sigil_encode_total",
  help: "Requests to encode that were answered with a sigil.",
  registers,
});
export const errors = new Counter({
  name: "sigil_error_total",
  help: "Requests that failed.",
  labelNames: ["reason"],
  registers,
});
export const duration = new Histogram({
  name: "sigil_encode_duration_seconds",
  help: "Time that answering a request to encode took.",
  buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
  registers,
});
export const verdicts = new Counter({
  name: "sigil_verify_total",
  help: "Requests to verify that were answered, by verdict.",
  labelNames: ["verdict"],
  registers,
});
export const verifyDuration = new Histogram({
  name: "sigil_verify_duration_seconds",
  help: "Time that answering a request to verify took.",
  buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
  registers,
});
export const storage = new Histogram({
  name: "sigil_storage_operation_duration_seconds",
  help: "Time that a call to the store took.",
  labelNames: ["operation", "outcome"],
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5],
  registers,
});

export class Publisher {
  #client;
  #key = { pk: { S: "node" }, sk: { S: randomUUID() } };
  #publishedAt = -INTERVAL_MS;

  constructor(client) {
    this.#client = client;
  }

  async afterResponse() {
    const now = performance.now();
    if (now - this.#publishedAt < INTERVAL_MS) return;
    this.#publishedAt = now;
    const metrics = { S: JSON.stringify(await registry.getMetricsAsJSON()) };
    await this.#client.send(new PutItemCommand({ TableName: process.env.STATS_TABLE, Item: { ...this.#key, metrics } }));
  }
}
