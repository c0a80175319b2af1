// Verifying, as functions/verify does it: the token's signature, the record's, and the data in hand. Left out as in encode.mjs.

import { createPublicKey, verify } from "node:crypto";
import { GetItemCommand } from "@aws-sdk/client-dynamodb";
import { canonical } from "./canonical.mjs";
import { signedText, view } from "./encode.mjs";
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
    if (!this.#check(parse(header).kid, Buffer.from(`${header}.${payload}`), signature)) {
      return { verdict: "bad_signature" };
    }
    const claims = parse(payload);
    const record = await this.#load(claims.jti);
    if (!record) return { verdict: "unknown" };
    // The signature itself has no dot, a key's name can have.
    const [, kid, ofRecord] = record.signature.S.match(/^(.*)\.(.*)$/);
    const asRegistered = this.#check(kid, signedText(record), ofRecord) && record.token.S === token;
    if (!asRegistered || (data !== undefined && canonical(data) !== record.data.S)) {
      return { verdict: "tampered" };
    }
    const verdict = record.revoked_at ? "revoked" : claims.exp <= Date.now() / 1000 ? "expired" : "valid";
    return { verdict, sigil: view(record) };
  }

  // Whether the key with this id has signed this text.
  #check(kid, text, signature) {
    const key = this.#keys.get(kid);
    return key !== undefined && verify(null, text, key, Buffer.from(signature, "base64url"));
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
