// node openai_clients.mjs FOLDER < calls.json: call OpenAI's SDK or Vercel's AI SDK, once for each call.
// The packages are in FOLDER/node_modules. A call is {url, token, client, method, request}, in which
// images are base64. Prints a list with the value or the error of each.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(`${process.argv[2]}/`);
const { OpenAI, toFile } = require("openai");
const { generateImage } = require("ai");
const { createOpenAI } = require("@ai-sdk/openai");
const { createOpenAICompatible } = require("@ai-sdk/openai-compatible");

const bytes = (image) => Buffer.from(image, "base64");

async function byOpenai({ url, token, method, request }) {
  const client = new OpenAI({ baseURL: url, apiKey: token });
  if (method === "models") return (await client.models.list()).data;
  if (method === "edit") request.image = await toFile(bytes(request.image), "fox.png", { type: "image/png" });
  const answer = await client.images[method](request);
  if (!request.stream) return answer;
  const events = [];
  for await (const event of answer) events.push(event);
  return events;
}

async function byAiSdk(model, { images, ...request }) {
  const prompt = images ? { text: request.prompt, images: images.map(bytes) } : request.prompt;
  const made = await generateImage({ model, ...request, prompt });
  return { images: made.images.map((image) => image.base64), types: made.images.map((image) => image.mediaType) };
}

const clients = {
  openai: byOpenai,
  "@ai-sdk/openai": ({ url, token, model, request }) =>
    byAiSdk(createOpenAI({ baseURL: url, apiKey: token }).image(model), request),
  "@ai-sdk/openai-compatible": ({ url, token, model, request }) =>
    byAiSdk(createOpenAICompatible({ name: "sd3", baseURL: url, apiKey: token }).imageModel(model), request),
};

async function outcome(call) {
  try {
    return { value: await clients[call.client](call) };
  } catch (error) {
    const { status, statusCode, code, param, type, message } = error.lastError ?? error;
    return { error: { kind: error.constructor.name, status: status ?? statusCode, code, param, type, message } };
  }
}

const outcomes = [];
for (const call of JSON.parse(await text(process.stdin))) outcomes.push(await outcome(call));
process.stdout.write(JSON.stringify(outcomes), () => process.exit());
