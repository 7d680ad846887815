// node octoai.mjs FOLDER < calls.json: call generateSd3 of OctoAI's SDK for TypeScript, once for each call.
// The SDK is in FOLDER/node_modules. A call is {url, token, request, options}. Prints a list with the
// response or the error of each.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const { OctoAIClient } = createRequire(`${process.argv[2]}/`)("@octoai/sdk");

async function outcome({ url, token, request, options }) {
  const environment = { default: url, imageGen: url, textGen: url };
  const client = new OctoAIClient({ apiKey: token, environment });
  try {
    return { response: await client.imageGen.generateSd3(request, options) };
  } catch (error) {
    return { error: { kind: error.constructor.name, status: error.statusCode, body: error.body } };
  }
}

const outcomes = [];
for (const call of JSON.parse(await text(process.stdin))) outcomes.push(await outcome(call));
// The SDK's timers of 60 s would keep the process.
process.stdout.write(JSON.stringify(outcomes), () => process.exit());
