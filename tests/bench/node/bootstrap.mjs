#!/usr/bin/env node
// A minimal client of the Lambda Runtime API: asks for an event, posts the response, and so on.
//
// It stands in for AWS's managed Node runtime, which cannot be had outside Lambda. That one does the same loop, and more: it
// loads the handler by name and patches the console. It has no hook between a response and the next event, so that to publish
// there takes an extension; here it is one more line.

import { Agent, request } from "node:http";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { Encoder } from "./encode.mjs";
import { Publisher } from "./metrics.mjs";

const agent = new Agent({ keepAlive: true });
const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const options = { agent, hostname, port, method, path: `/2018-06-01/runtime/invocation/${path}` };
    const sent = request(options, async (response) => {
      try {
        const chunks = [];
        for await (const chunk of response) chunks.push(chunk);
        if (response.statusCode >= 300) throw new Error(`${method} ${path} was answered ${response.statusCode}`);
        resolve({ headers: response.headers, body: Buffer.concat(chunks).toString() });
      } catch (error) {
        reject(error);
      }
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

const client = new DynamoDBClient();
const encoder = new Encoder(client);
const publisher = new Publisher(client);
for (;;) {
  const event = await call("GET", "next");
  const response = await encoder.handle(JSON.parse(event.body));
  await call("POST", `${event.headers["lambda-runtime-aws-request-id"]}/response`, JSON.stringify(response));
  await publisher.afterResponse();
}
