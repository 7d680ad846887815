// Prints what the playground copies, and what its JavaScript then sends.
// Input: {source, calls: [{request, options}]}. Output: for each call the text of each kind, and `sent`.
import { text } from "node:stream/consumers";
import { runInThisContext } from "node:vm";

const { source, calls } = JSON.parse(await text(process.stdin));
const { snippets } = runInThisContext(`const playground = { begin: [] };\n${source}\nplayground;`);

async function send(code) {
  let sent;
  globalThis.fetch = async (url, { method, headers, body }) => {
    sent = { url, method, headers, body };
    return { ok: true, json: async () => ({ id: "job", status: "succeeded", images: [] }) };
  };
  await import(`data:text/javascript,${encodeURIComponent(code)}`);
  return sent;
}

console.log = () => {};
const answers = [];
for (const { request, options } of calls) {
  const texts = Object.entries(snippets).map(([kind, { of }]) => [kind, of(request, options)]);
  const answer = Object.fromEntries(texts);
  answers.push({ ...answer, sent: await send(answer.node) });
}
process.stdout.write(JSON.stringify(answers));
