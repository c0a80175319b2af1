// Verifying, as functions/verify does it: the signature, the record, and the data in hand. Left out as in encode.mjs.

import { createHash, createPublicKey, verify } from "node:crypto";
import { GetItemCommand } from "@aws-sdk/client-dynamodb";
import { canonical } from "./canonical.mjs";
import { view } from "./encode.mjs";
import { storage } from "./metrics.mjs";

const parse = (part) => JSON.parse(Buffer.from(part, "base64url").toString());

export class Verifier {
  #client;
  #table = process.env.SIGILS_TABLE;
  #keys = new Map(
    JSON.parse(process.env.SIGNING_KEYS).keys.map(({ kty, crv, kid, x }) => [
      kid,
      createPublicKey({ key: { kty, crv, x }, format: "jwk" }),
    ]),
  );

  constructor(client) {
    this.#client = client;
  }

  async verify({ token, data }) {
    const [header, payload, signature] = token.split(".");
    const key = this.#keys.get(parse(header).kid);
    if (!key || !verify(null, Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, "base64url"))) {
      return { verdict: "bad_signature" };
    }
    const claims = parse(payload);
    const record = await this.#load(claims.jti);
    if (!record) return { verdict: "unknown" };
    const digest = (text) => createHash("sha256").update(text).digest("base64url");
    const asRegistered = record.token.S === token && digest(record.data.S) === claims.sigil_digest;
    if (!asRegistered || (data !== undefined && digest(canonical(data)) !== claims.sigil_digest)) {
      return { verdict: "tampered" };
    }
    const verdict = record.revoked_at ? "revoked" : claims.exp <= Date.now() / 1000 ? "expired" : "valid";
    return { verdict, sigil: view(record) };
  }

  async #load(id) {
    const stop = storage.startTimer({ operation: "get" });
    try {
      const get = { TableName: this.#table, Key: { id: { S: id } }, ConsistentRead: true };
      const { Item } = await this.#client.send(new GetItemCommand(get));
      stop({ outcome: "ok" });
      return Item;
    } catch (error) {
      stop({ outcome: "unavailable" });
      throw error;
    }
  }
}
