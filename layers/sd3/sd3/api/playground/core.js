"use strict";

// All that the scripts of this page share. Each script adds its part; app.js begins.
const playground = {
  token: "", // in this variable alone, unless its owner has it remembered in the tab
  visit: 0, // how often the token was changed
  document: null, // openapi.json
  job: null, // the job that is shown
  requests: new Map(), // by the job's id: what this tab has sent. The API returns no prompts
  begin: [], // functions that are called once, when openapi.json is there
  parts: [], // functions that return fields of the request
  tiles: [], // functions (actions, job, image) that add buttons to an image
  shown: [], // functions (job) that are called when a job is shown
};

playground.$ = (id) => document.getElementById(id);

// Make an element. Text is only ever text: nothing on this page is parsed as HTML.
playground.make = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};

playground.button = (text, action, properties = {}) => {
  const button = playground.make("button", { type: "button", textContent: text, ...properties });
  button.addEventListener("click", action);
  return button;
};

// Why a call failed, in the API's words.
playground.ApiError = class extends Error {
  constructor(status, body, retryAfter) {
    super(body.message ?? `The service answered with ${status}.`);
    this.status = status;
    this.code = body.code ?? "";
    this.detail = body.detail ?? [];
    this.requestId = body.request_id ?? "";
    this.jobId = (body.job_id ?? "").replace(/=$/, ""); // as the gateway's own 504 writes it
    this.retryAfter = retryAfter;
  }
};

// What comes of a promise, until the token is changed. Nobody hears of it then: it is another client's.
playground.ofVisit = (promise) => {
  const { visit } = playground;
  return new Promise((resolve, reject) => {
    const tell = (settle) => (value) => { if (visit === playground.visit) settle(value); };
    promise.then(tell(resolve), tell(reject));
  });
};

// Call the API. `path` is relative to this page, so a stage or a base path stays in it.
playground.call = (path, options) => playground.ofVisit(playground.send(path, options));

playground.send = async (path, { method = "GET", body, headers = {}, signal } = {}) => {
  const sent = { Authorization: `Bearer ${playground.token}`, Accept: "application/json", ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method,
    headers: sent,
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
    signal,
  });
  const text = await response.text();
  let json = null;
  try {
    json = text ? JSON.parse(text) : null;
  } catch {
    json = {}; // of a proxy in between
  }
  if (response.status >= 400) {
    throw new playground.ApiError(response.status, json ?? {}, response.headers.get("Retry-After"));
  }
  return { status: response.status, headers: response.headers, json };
};

playground.dollars = (amount) => `$${amount.toFixed(amount * 100 === Math.round(amount * 100) ? 2 : 4)}`;

playground.say = (text) => {
  playground.$("status").textContent = text;
};

// The link to an image, or to a rendition of it, signed now. `query` has width, format, download.
playground.link = async (job, image, query = {}) => {
  const path = `jobs/${encodeURIComponent(job.id)}/images/${image.index}`;
  const parameters = new URLSearchParams(query).toString();
  return (await playground.call(parameters ? `${path}?${parameters}` : path)).json.url;
};

// The bytes of an image, for scripts. Not from the cache: the <img> may have left an answer there
// without the headers by which S3 lets a script read it.
playground.imageBlob = async (job, image) => {
  const link = await playground.link(job, image);
  const response = await playground.ofVisit(fetch(link, { cache: "no-store", credentials: "omit" }));
  if (!response.ok) throw new Error(`The image could not be read: ${response.status}.`);
  return response.blob();
};

// The largest width up to `wanted` in which there are renditions of an image.
playground.renditionWidth = (image, wanted) => {
  const { parameters } = playground.document.paths["/jobs/{id}/images/{index}"].get;
  const schema = parameters.find(({ name }) => name === "width").schema;
  const widths = schema.enum ?? schema.anyOf.find((each) => each.enum).enum;
  return Math.max(...widths.filter((width) => width <= Math.min(image.width, wanted)));
};
