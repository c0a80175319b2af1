// Encode and verify as a server that is always on: Express, prom-client, the AWS SDK.

import express from "express";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { Encoder } from "./encode.mjs";
import { Verifier } from "./verify.mjs";
import { duration, encoded, errors, registry, verdicts, verifyDuration } from "./metrics.mjs";

const client = new DynamoDBClient();
const encoder = new Encoder(client);
const verifier = new Verifier(client);
const app = express();
app.disable("x-powered-by");
app.use(express.json({ limit: "6mb" }));

// Measures a handler, and answers what it throws.
function timed(histogram, handle) {
  return async (request, response) => {
    const stop = histogram.startTimer();
    try {
      await handle(request, response);
    } catch (error) {
      console.error(error);
      errors.inc({ reason: error.name });
      response.status(503).json({ error: error.name });
    } finally {
      stop();
    }
  };
}

const SIGILS = "/api/consciousness/sigils";
app.post(
  SIGILS,
  timed(duration, async (request, response) => {
    const sigil = await encoder.encode(request.body);
    encoded.inc();
    response.status(201).location(`${SIGILS}/${sigil.id}`).json({ success: true, sigil });
  }),
);
app.post(
  `${SIGILS}/verify`,
  timed(verifyDuration, async (request, response) => {
    const { verdict, sigil } = await verifier.verify(request.body);
    verdicts.inc({ verdict });
    response.json({ valid: verdict === "valid", verdict, sigil });
  }),
);
app.get("/metrics", async (_, response) => {
  response.type(registry.contentType).send(await registry.metrics());
});
app.listen(Number(process.env.PORT), "127.0.0.1");
