"use strict";

// "Copy as": a request as code to paste. The token is never in it, but the variable that holds it.
playground.snippets = (() => {
  // Characters that a reader would not see, or that would show the others in another order.
  const UNSEEN = /[\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
  const INIT_IMAGE = "init_image";
  const OPENAI = { prompt: "prompt", num_images: "n", image_encoding: "output_format" };
  const OPENAI_EXTRAS = ["negative_prompt", "seed", "steps", "cfg_scale", "strength"];

  // JSON, which JavaScript reads too. Its strings are strings of Python.
  const json = (value) =>
    JSON.stringify(value).replace(UNSEEN, (one) => "\\u" + one.charCodeAt(0).toString(16).padStart(4, "0"));

  function python(value) {
    if (value === null) return "None";
    if (typeof value === "boolean") return value ? "True" : "False";
    if (typeof value !== "object") return json(value);
    if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
    return `{${Object.entries(value).map(([name, item]) => `${json(name)}: ${python(item)}`).join(", ")}}`;
  }

  const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

  // Each field as a line of code. The init image is read from its file, since it can have megabytes.
  const lines = (request, indent, literal, file) =>
    Object.entries(request)
      .map(([name, value]) => `${indent}${json(name)}: ${name === INIT_IMAGE ? file : literal(value)},\n`)
      .join("");

  function curl(request, { baseUrl, isAsync, fileName }) {
    const { [INIT_IMAGE]: image, ...rest } = request;
    const body = json(rest);
    const call = [
      `curl ${shell(baseUrl + "/generate/sd3")}`,
      '-H "Authorization: Bearer $SD3_API_TOKEN"',
      "-H 'Content-Type: application/json'",
      ...(isAsync ? ["-H 'Prefer: respond-async'"] : []),
    ].join(" \\\n  ");
    if (image === undefined) return `${call} \\\n  -d ${shell(body)}\n`;
    const before = shell(`${body.slice(0, -1)}, "${INIT_IMAGE}": "`);
    return `{ printf %s ${before}; base64 < ${shell(fileName)} | tr -d '\\n'; printf '"}'; } |\n${call} \\\n  -d @-\n`;
  }

  function pythonRequests(request, { baseUrl, isAsync, fileName }) {
    const reads = INIT_IMAGE in request;
    const file = `base64.b64encode(Path(${json(fileName ?? "")}).read_bytes()).decode()`;
    return `${reads ? "import base64\n" : ""}import os
${reads ? "from pathlib import Path\n" : ""}
import requests

api = ${json(baseUrl)}
token = {"Authorization": f"Bearer {os.environ['SD3_API_TOKEN']}"}


def read(answer):
    if not answer.ok:
        raise SystemExit(answer.text)
    return answer.json()


request = {
${lines(request, "    ", python, file)}}
headers = token${isAsync ? ' | {"Prefer": "respond-async"}' : ""}
job = read(requests.post(f"{api}/generate/sd3", json=request, headers=headers, timeout=60))
while job["status"] in ("queued", "running"):
    headers = token | {"Prefer": "wait=20"}
    job = read(requests.get(f"{api}/jobs/{job['id']}", headers=headers, timeout=60))
print(job["status"], job["id"])
for image in job["images"]:
    if image["url"]:
        name = f"{job['id']}-{image['index']}.${request.image_encoding === "png" ? "png" : "jpg"}"
        with open(name, "wb") as file:
            file.write(requests.get(image["url"], timeout=60).content)
`;
  }

  function javascript(request, { baseUrl, isAsync, fileName }) {
    const reads = INIT_IMAGE in request;
    const file = `(await readFile(${json(fileName ?? "")})).toString("base64")`;
    return `import { ${reads ? "readFile, " : ""}writeFile } from "node:fs/promises";

const api = ${json(baseUrl)};
const headers = {
  Authorization: \`Bearer \${process.env.SD3_API_TOKEN}\`,
  "Content-Type": "application/json",
};
const call = async (path, options) => {
  const answer = await fetch(api + path, options);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
};

const request = {
${lines(request, "  ", json, file)}};
let job = await call("/generate/sd3", {
  method: "POST",
  headers${isAsync ? ': { ...headers, Prefer: "respond-async" }' : ""},
  body: JSON.stringify(request),
});
while (["queued", "running"].includes(job.status)) {
  job = await call(\`/jobs/\${job.id}\`, { headers: { ...headers, Prefer: "wait=20" } });
}
console.log(job.status, job.id);
for (const { index, url } of job.images.filter((image) => image.url)) {
  const file = new Uint8Array(await (await fetch(url)).arrayBuffer());
  await writeFile(\`\${job.id}-\${index}.${request.image_encoding === "png" ? "png" : "jpg"}\`, file);
}
`;
  }

  // What OpenAI's API cannot take is named in a comment. An edit is a form, which has no lists.
  function openai(request, { baseUrl, isAsync, fileName }) {
    const { width = 1024, height = 1024 } = request;
    const isEdit = INIT_IMAGE in request;
    const extraNames = OPENAI_EXTRAS.filter((name) => name in request && !(isEdit && Array.isArray(request[name])));
    const known = new Set([...Object.keys(OPENAI), ...extraNames, INIT_IMAGE, "width", "height"]);
    const lost = Object.keys(request).filter((name) => !known.has(name));
    const fields = [
      'model="sd3"',
      ...(isEdit ? [`image=Path(${json(fileName ?? "")})`] : []),
      ...Object.keys(OPENAI).filter((name) => name in request).map((name) => `${OPENAI[name]}=${python(request[name])}`),
      `size="${width}x${height}"`,
      'response_format="url"',
    ];
    const extras = Object.fromEntries(extraNames.map((name) => [name, request[name]]));
    if (Object.keys(extras).length > 0) fields.push(`extra_body={\n${lines(extras, "        ", python)}    }`);
    return `import os
${isEdit ? "from pathlib import Path\n" : ""}
from openai import OpenAI

${lost.length > 0 ? `# OpenAI's API has no way to send: ${lost.map(json).join(", ")}\n` : ""}${
  isAsync ? "# OpenAI's API has no queue: the call waits for the images, for up to 26 seconds\n" : ""
}client = OpenAI(
    base_url=${json(baseUrl)},
    api_key=os.environ["SD3_API_TOKEN"],
)
answer = client.images.${isEdit ? "edit" : "generate"}(
${fields.map((field) => `    ${field},\n`).join("")})
for image in answer.data:
    print(image.url)
`;
  }

  // From a request as POST /generate/sd3 takes it, and {baseUrl, isAsync, fileName}: the address of the
  // API, whether the job is queued, and the name of the file of init_image. Each returns text.
  return {
    curl: { label: "curl", of: curl },
    python: { label: "Python", of: pythonRequests },
    node: { label: "JavaScript", of: javascript },
    openai: { label: "OpenAI SDK", of: openai },
  };
})();

// The address of the API, which is this page's without its last part.
playground.baseUrl = () => new URL(".", location.href).href.replace(/[/]$/, "");

playground.copy = async ({ label, of }) => {
  const { $ } = playground;
  const options = { baseUrl: playground.baseUrl(), isAsync: $("queue").checked, fileName: playground.init?.name };
  const code = of(playground.request(), options);
  $("code").textContent = code;
  $("code").hidden = false;
  try {
    await navigator.clipboard.writeText(code);
    $("copied").textContent = `Copied as ${label}. The token is read from the variable SD3_API_TOKEN.`;
  } catch {
    getSelection().selectAllChildren($("code"));
    $("copied").textContent = "This browser does not let the page copy. The code is selected: copy it yourself.";
  }
};

playground.begin.push(() => {
  const { make, button, $ } = playground;
  const buttons = Object.values(playground.snippets).map((snippet) =>
    button(snippet.label, () => playground.copy(snippet), { "aria-label": `Copy as ${snippet.label}` }));
  $("snippets").append(
    make("details", {}, make("summary", { textContent: "Copy as code" }), make("div", { className: "actions" }, ...buttons),
      make("p", { id: "copied", className: "muted", "aria-live": "polite" }),
      make("pre", { id: "code", tabIndex: 0, hidden: true, role: "region", "aria-label": "The code" })));
  // What was copied is another request's now.
  $("request").addEventListener("input", () => { $("code").hidden = true; $("copied").textContent = ""; });
});
