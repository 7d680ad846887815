"use strict";

// The form: its fields have the limits and the defaults of the API's own document.

playground.FIELDS = {
  prompt: { label: "Prompt", place: "main-fields", rows: 4 },
  negative_prompt: { label: "Negative prompt", place: "more-fields", rows: 2, helps: true },
  num_images: { label: "Images", place: "main-fields" },
  seed: { label: "Seed", place: "main-fields", placeholder: "random" },
  steps: { label: "Steps", place: "more-fields", helps: true },
  cfg_scale: { label: "Guidance", place: "more-fields", helps: true },
  image_encoding: { label: "File format", place: "more-fields" },
};
playground.IDEAS = [
  "a lighthouse at dusk by the sea, mountains and trees",
  "a fox asleep under a red maple, soft morning light",
  "a village in the snow, seen from a hill at night",
];
playground.controls = new Map(); // by the name of the field

playground.requestSchema = () => playground.document.components.schemas.GenerateRequest;

// What a field may be: the first of its alternatives that is not null, with default and meaning.
playground.schemaOf = (name) => {
  const { anyOf, default: initial, description, ...rest } = playground.requestSchema().properties[name];
  const first = anyOf?.find(({ type }) => type !== "null") ?? rest;
  return { ...(first.oneOf?.[0] ?? first), initial, description };
};

// Add a field to the form: its label, its control, its meaning, and the place of its fault.
playground.addField = (name, { label, place, rows, placeholder = "", helps = false }) => {
  const { make } = playground;
  const schema = playground.schemaOf(name);
  const id = `field-${name}`;
  const control = playground.controlOf(schema, { id, rows, placeholder, text: name === "seed" });
  control.setAttribute("aria-describedby", `${helps ? `${id}-help ` : ""}${id}-fault`);
  const field = make("div", { className: `field ${name}` }, make("label", { htmlFor: id, textContent: label }), control);
  if (helps) field.append(make("p", { id: `${id}-help`, className: "help", textContent: schema.description }));
  field.append(make("p", { id: `${id}-fault`, className: "fault" }));
  playground.$(place).append(field);
  playground.controls.set(name, control);
  return control;
};

playground.controlOf = (schema, { id, rows, placeholder, text }) => {
  const { make } = playground;
  if (schema.enum) {
    const options = schema.enum.map((value) => make("option", { value, textContent: value }));
    const select = make("select", { id }, ...options);
    select.value = schema.initial;
    return select;
  }
  if (rows) return make("textarea", { id, rows });
  if (text) return make("input", { id, type: "text", inputMode: "numeric", autocomplete: "off", placeholder });
  const step = schema.type === "integer" ? 1 : "any";
  const bounds = { min: schema.minimum ?? schema.exclusiveMinimum, max: schema.maximum, step };
  return make("input", { id, type: "number", ...bounds, value: schema.initial });
};

// The sizes, as shapes to choose from. They come from the alternatives of the schema.
playground.addSizes = () => {
  const { make } = playground;
  const pairs = playground.requestSchema().anyOf.map(({ properties }) => [properties.width.enum[0], properties.height.enum[0]]);
  pairs.sort(([a, b], [c, d]) => c / d - a / b);
  const choices = pairs.map(([width, height]) => {
    const radio = make("input", { type: "radio", name: "size", value: `${width}x${height}` });
    const shape = make("span", { className: "shape", "aria-hidden": "true" });
    const scale = 26 / Math.max(width, height);
    shape.style.width = `${width * scale}px`;
    shape.style.height = `${height * scale}px`;
    return make("label", { title: `${width} × ${height}` }, radio, shape, make("span", { className: "size", textContent: `${width}×${height}` }));
  });
  const fault = make("p", { id: "field-size-fault", className: "fault" });
  const group = make("fieldset", { id: "field-size", className: "field sizes", role: "radiogroup" }, make("legend", { textContent: "Size" }));
  group.setAttribute("aria-describedby", fault.id);
  group.append(make("div", { className: "shapes" }, ...choices), fault);
  playground.$("main-fields").append(group);
  playground.setSize(1024, 1024);
};

playground.setSize = (width, height) => {
  const radio = document.querySelector(`input[name=size][value="${width}x${height}"]`);
  if (radio) radio.checked = true;
};

// What a control says, as the API wants it; undefined for the default. What is no number goes out as
// it is written, so that the API says what is wrong with it.
playground.valueOf = (name) => {
  const control = playground.controls.get(name);
  const text = control.value.trim();
  if (name === "prompt") return control.value;
  if (name === "seed" && text.includes(",")) return text.split(",").map(playground.numberOr);
  if (control.validity.badInput) return "?";
  if (text === "" || text === String(playground.schemaOf(name).initial)) return undefined;
  return name === "seed" || control.type === "number" ? playground.numberOr(text) : control.value;
};

playground.numberOr = (text) => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text.trim() || null);

// The body of the request, without what is the default anyway.
playground.request = () => {
  const body = {};
  for (const name of playground.controls.keys()) {
    const value = playground.valueOf(name);
    if (value !== undefined) body[name] = value;
  }
  const [width, height] = document.querySelector("input[name=size]:checked").value.split("x").map(Number);
  if (width !== 1024 || height !== 1024) Object.assign(body, { width, height });
  return Object.assign(body, ...playground.parts.map((part) => part()));
};

// Put a request back into the form.
playground.refill = (body) => {
  for (const [name, control] of playground.controls) {
    const value = body[name] ?? playground.schemaOf(name).initial;
    control.value = Array.isArray(value) ? value.join(", ") : (value ?? "");
  }
  playground.setSize(body.width ?? 1024, body.height ?? 1024);
  playground.clearFaults();
  playground.changed();
};

playground.clearFaults = () => {
  for (const fault of document.querySelectorAll("#request .fault")) fault.textContent = "";
  for (const wrong of document.querySelectorAll("#request [aria-invalid]")) wrong.removeAttribute("aria-invalid");
};

// Write each fault beside its field. Return those that have no field here.
playground.showFaults = (detail) => {
  const others = [];
  for (const { loc, msg } of detail) {
    const name = ["width", "height"].includes(loc[1]) ? "size" : loc[1];
    const fault = playground.$(`field-${name}-fault`);
    if (!fault) {
      others.push(`${loc.join(".")}: ${msg}`);
      continue;
    }
    fault.textContent = fault.textContent ? `${fault.textContent}; ${msg}` : msg;
    playground.$(`field-${name}`)?.setAttribute("aria-invalid", "true");
    fault.closest("details")?.setAttribute("open", "");
  }
  return others;
};

playground.focusFault = () => {
  const wrong = document.querySelector("#request [aria-invalid]");
  (wrong?.querySelector("input:checked") ?? wrong)?.focus();
};

// Show an error where it belongs, in the API's words.
playground.fail = (error) => {
  const { make } = playground;
  playground.say("");
  if (error.status === 401 || error.status === 403) {
    const isUnknown = error.status === 401 || !playground.known;
    if (isUnknown) return playground.leave(error.message);
  }
  const others = playground.showFaults(error.detail ?? []);
  const lines = [make("strong", { textContent: error.message }), ...others.map((text) => make("p", { textContent: text }))];
  const parts = [error.code, error.requestId && `request ${error.requestId}`, error.retryAfter && `try again in ${error.retryAfter} s`];
  if (error.status) lines.push(make("p", { className: "muted", textContent: parts.filter(Boolean).join(" · ") }));
  playground.$("alert").replaceChildren(make("div", { className: "problem" }, ...lines));
  playground.reveal();
  if (error.detail?.length) playground.focusFault();
};

// Say what the request would cost, once its author has stopped for a moment.
playground.changed = () => {
  playground.hasChanged = true;
  clearTimeout(playground.pricing);
  playground.pricing = setTimeout(playground.price, 350);
};

playground.price = async () => {
  const mine = playground.pricing; // a change meanwhile has another
  const { init_image: _bytes, ...rest } = playground.request(); // its bytes change no price
  const body = { ...rest, prompt: rest.prompt.trim() ? rest.prompt : "-", dry_run: true };
  let [price, note, faults] = ["", "", []];
  try {
    const { json } = await playground.call("generate/sd3", { method: "POST", body });
    price = playground.dollars(json.cost_usd);
    if (json.ignored.length) note = `${json.upstream} does not follow ${json.ignored.join(", ")}`;
  } catch (error) {
    if (error.status === 422) faults = error.detail;
    if (error.status === 402) note = error.message;
  }
  if (mine !== playground.pricing) return;
  playground.$("price").textContent = price;
  playground.$("quote").textContent = note;
  if (!playground.hasChanged) return; // it was sent meanwhile, and has the faults of that answer
  if (price || faults.length) playground.clearFaults();
  playground.showFaults(faults);
};

playground.begin.push(() => {
  const { prompt, ...others } = playground.FIELDS;
  playground.addField("prompt", prompt);
  playground.addSizes();
  for (const [name, options] of Object.entries(others)) playground.addField(name, options);
  const form = playground.$("request");
  form.addEventListener("input", () => {
    playground.$("alert").replaceChildren();
    playground.changed();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    playground.generate();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const sends = event.ctrlKey || event.metaKey;
    if (event.repeat && (sends || event.target.tagName !== "TEXTAREA")) event.preventDefault(); // held down
    else if (sends) form.requestSubmit();
  });
  // The second click of a double one is none, also where the first was answered meanwhile.
  playground.$("send").addEventListener("click", (event) => {
    if (event.detail > 1) event.preventDefault();
  });
  for (const idea of playground.IDEAS) {
    const use = () => {
      playground.refill({ ...playground.request(), prompt: idea });
      playground.controls.get("prompt").focus();
    };
    playground.$("ideas").append(playground.make("li", {}, playground.button(idea, use)));
  }
});
