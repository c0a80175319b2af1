// Verifies a token as a stranger would: with a JOSE library that knows nothing of this project, against the published
// keys. Prints the token's header and claims; any refusal ends it with an error.
//
//   node --input-type=module - <URL of the keys> <token>  < verify.mjs    (in a folder where `jose` is installed)

import { createRemoteJWKSet, jwtVerify } from "jose";

const [keys, token] = process.argv.slice(2);
const { protectedHeader, payload } = await jwtVerify(token, createRemoteJWKSet(new URL(keys)), { algorithms: ["EdDSA"] });
console.log(JSON.stringify({ header: protectedHeader, claims: payload }));
