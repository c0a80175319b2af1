// Encoding, as functions/encode does it: the same request gives the same kind of record, token and response, which
// functions/verify takes for its own. Left out: idempotency keys, the faults of a request by name, revoking, retries that
// are counted, the circuit breaker, and renewing the keys.

import { createHash, createPrivateKey, randomUUID, sign } from "node:crypto";
import { PutItemCommand } from "@aws-sdk/client-dynamodb";
import { canonical } from "./canonical.mjs";
import { duration, encoded, errors, storage } from "./metrics.mjs";

const DAY_SECONDS = 24 * 60 * 60;
const TTL_SECONDS = 365 * DAY_SECONDS;
const RETENTION_SECONDS = 7 * DAY_SECONDS;
const EXPIRY_AFTER_DUE_SECONDS = 7 * DAY_SECONDS;
const GC_SHARDS = 8;

const sha256 = (text) => createHash("sha256").update(text).digest();
const base64url = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

export class Encoder {
  #client;
  #table = process.env.SIGILS_TABLE;
  #jwk = JSON.parse(process.env.SIGNING_KEYS).keys[0];
  #key = createPrivateKey({ key: this.#jwk, format: "jwk" });

  constructor(client) {
    this.#client = client;
  }

  async handle(event) {
    const stop = duration.startTimer();
    try {
      const request = JSON.parse(event.isBase64Encoded ? Buffer.from(event.body, "base64").toString() : event.body);
      const sigil = await this.encode(request);
      encoded.inc();
      return respond(201, { success: true, sigil }, { location: `/api/consciousness/sigils/${sigil.id}` });
    } catch (error) {
      console.error(error);
      errors.inc({ reason: error.name });
      return respond(503, { error: error.name });
    } finally {
      stop();
    }
  }

  async encode(request) {
    const id = randomUUID();
    const data = canonical(request.data);
    const metadata = request.metadata && canonical(request.metadata);
    const digest = sha256(data);
    const createdAt = Math.floor(Date.now() / 1000);
    const expiresAt = createdAt + TTL_SECONDS;
    const due = expiresAt + RETENTION_SECONDS;
    const token = this.#sign({
      jti: id,
      iat: createdAt,
      exp: expiresAt,
      sigil_digest: digest.toString("base64url"),
      ...(metadata && { metadata_digest: sha256(metadata).toString("base64url") }),
    });
    const record = {
      id: { S: id },
      token: { S: token },
      data: { S: data },
      ...(metadata && { metadata: { S: metadata } }),
      created_at: { N: String(createdAt) },
      expires_at: { N: String(expiresAt) },
      gc_shard: { S: String(parseInt(id.slice(-2), 16) % GC_SHARDS) },
      due: { N: String(due) },
      ttl: { N: String(due + EXPIRY_AFTER_DUE_SECONDS) },
    };
    record.signature = { S: this.#signature(record) };
    await this.#insert(record);
    return { ...view(record), token, metadata: request.metadata };
  }

  #sign(claims) {
    const signed = `${base64url({ typ: "JWT", alg: "EdDSA", kid: this.#jwk.kid })}.${base64url(claims)}`;
    return `${signed}.${sign(null, Buffer.from(signed), this.#key).toString("base64url")}`;
  }

  #signature(record) {
    return `${this.#jwk.kid}.${sign(null, signedText(record), this.#key).toString("base64url")}`;
  }

  async #insert(item) {
    const stop = storage.startTimer({ operation: "put" });
    try {
      const put = { TableName: this.#table, Item: item, ConditionExpression: "attribute_not_exists(id)" };
      await this.#client.send(new PutItemCommand(put));
      stop({ outcome: "ok" });
    } catch (error) {
      stop({ outcome: "unavailable" });
      throw error;
    }
  }
}

// What a record's signature signs, as shared/sigil/src/record_signature.rs has it.
export function signedText(record) {
  const digest = (text) => (text ? sha256(text.S).toString("base64url") : "none");
  const lines = [
    "sigil record 1",
    record.id.S,
    digest(record.token),
    digest(record.data),
    digest(record.metadata),
    record.request_digest?.S ?? "none",
    record.created_at.N,
    record.expires_at.N,
    record.revoked_at?.N ?? "none",
    record.due.N,
  ];
  return Buffer.from(lines.join("\n"));
}

// What the holder of a token may see of its record.
export function view(record) {
  const timestamp = (seconds) => new Date(Number(seconds) * 1000).toISOString().replace(".000Z", "Z");
  const digest = sha256(record.data.S);
  return {
    id: record.id.S,
    state: record.revoked_at ? "revoked" : "active",
    digest: digest.toString("base64url"),
    dna: dna(digest),
    created_at: timestamp(record.created_at.N),
    expires_at: timestamp(record.expires_at.N),
    revoked_at: record.revoked_at ? timestamp(record.revoked_at.N) : null,
  };
}

function dna(digest) {
  const letters = (byte) => [byte >> 6, byte >> 4, byte >> 2, byte].map((bits) => "ACGT"[bits & 3]);
  return [...digest.subarray(0, 8)].flatMap(letters).join("");
}

function respond(statusCode, body, headers = {}) {
  return { statusCode, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) };
}
