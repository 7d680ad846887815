"use strict";

// The init image: picked, dropped, pasted, or one of the results. It is kept in the form, and goes with
// the request if it is small. A larger one is uploaded first.

playground.INLINE_BYTES = 3_400_000; // leaves room for base64 in the 6 MB that a function takes
playground.init = null; // {name, preview, part}: `part` is its field of the request
playground.uploads = new Map(); // by id, to show them again with their jobs

playground.dataUri = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(blob);
  });

playground.megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

// Send a large image to S3 by a form, without the token. Return its id.
playground.upload = async (blob, signal) => {
  const types = playground.document.components.schemas.UploadRequest.properties.content_type.enum;
  const body = { content_type: types.includes(blob.type) ? blob.type : types[0] }; // its bytes count, not its type
  const { json: form } = await playground.call("uploads", { method: "POST", body, signal });
  if (blob.size > form.max_bytes) {
    throw new Error(`The image has ${playground.megabytes(blob.size)}, and ${playground.megabytes(form.max_bytes)} is the most.`);
  }
  const data = new FormData();
  for (const [name, value] of Object.entries(form.fields)) data.append(name, value);
  data.append("file", blob);
  const response = await fetch(form.url, { method: "POST", body: data, credentials: "omit", signal });
  if (!response.ok) throw new Error(`S3 did not take the image: ${response.status}.`);
  return form.id;
};

// Use an image as the init image of the next request. Nothing is generated before it is there.
playground.useImage = async (blob, name) => {
  playground.removeImage();
  const stop = new AbortController();
  playground.uploading = stop;
  const preview = URL.createObjectURL(blob);
  const init = { name, preview };
  playground.showImage(init, `${playground.megabytes(blob.size)}, loading…`);
  try {
    if (blob.size <= playground.INLINE_BYTES) {
      init.part = { init_image: await playground.dataUri(blob) };
    } else {
      init.part = { init_image_id: await playground.upload(blob, stop.signal) };
      playground.uploads.set(init.part.init_image_id, init);
    }
    if (playground.uploading !== stop) return; // another image, or none, was chosen meanwhile
    playground.init = init;
    playground.showImage(init, playground.megabytes(blob.size));
    playground.changed();
  } catch (error) {
    if (playground.uploading !== stop) return;
    playground.removeImage();
    playground.imageFault(error.message);
  } finally {
    if (playground.uploading === stop) playground.uploading = null;
  }
};

playground.imageFault = (text) => {
  playground.$("init-problem").textContent = text;
  playground.$("field-init_image").focus();
};

playground.removeImage = () => {
  playground.uploading?.abort();
  playground.uploading = null;
  playground.init = null;
  playground.showImage(null);
};

playground.showImage = (init, text = "") => {
  for (const id of ["init-problem", "field-init_image-fault", "field-init_image_id-fault"]) playground.$(id).textContent = "";
  playground.$("init-picked").hidden = playground.$("init-fields").hidden = !init;
  playground.$("init-drop").hidden = Boolean(init);
  playground.$("init-name").textContent = init ? `${init.name} · ${text}` : "";
  const preview = playground.$("init-preview");
  preview.hidden = !init;
  if (init) preview.src = init.preview;
  else preview.removeAttribute("src");
  if (init) return;
  for (const name of ["strength", "init_image_fit"]) playground.controls.get(name).value = playground.schemaOf(name).initial;
};

// Put the init image of a request back into the form, or remove the one that is there.
playground.restoreImage = ({ init_image: uri, init_image_id: id }) => {
  const part = uri ? { init_image: uri } : { init_image_id: id };
  if (JSON.stringify(playground.init?.part) === JSON.stringify(part)) return;
  playground.removeImage();
  if (!uri && !id) return;
  playground.init = playground.uploads.get(id) ?? { name: uri ? "init-image" : id, preview: uri ?? "data:,", part };
  playground.showImage(playground.init, "of the earlier request");
};

// Let an element take images that are dropped on it, one at a time.
playground.acceptDrops = (element, use) => {
  const isOver = (is) => element.classList.toggle("over", is);
  element.addEventListener("dragover", () => isOver(true));
  element.addEventListener("dragleave", () => isOver(false));
  element.addEventListener("drop", (event) => {
    isOver(false);
    const [file] = event.dataTransfer.files;
    if (file) use(file, file.name);
  });
};

// A file input that looks like a place to drop an image on.
playground.picker = (id, text, use) => {
  const { make } = playground;
  const input = make("input", { id, type: "file", accept: "image/*" });
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = ""; // so that the same file can be picked again
    if (file) use(file, file.name);
  });
  return make("label", { className: "drop", htmlFor: id }, input, make("span", { textContent: text }));
};

playground.addInit = () => {
  const { make, button, $ } = playground;
  const picker = playground.picker("field-init_image", "Choose, drop or paste an image", playground.useImage);
  const preview = make("img", { id: "init-preview", alt: "The init image", hidden: true });
  preview.addEventListener("error", () => { preview.hidden = true; }); // of a format that this browser cannot show
  const remove = () => {
    playground.removeImage();
    $("field-init_image").focus();
    playground.changed();
  };
  const fieldset = make("fieldset", { id: "field-init_image_id", className: "field init", tabIndex: -1 },
    make("legend", { textContent: "Init image" }),
    make("div", { id: "init-drop" }, picker),
    make("div", { id: "init-picked", hidden: true }, preview, make("span", { id: "init-name", "aria-live": "polite" }),
      button("Remove", remove, { "aria-label": "Remove the init image" })),
    make("div", { id: "init-fields", hidden: true }),
    make("p", { id: "init-problem", className: "wrong", "aria-live": "assertive" }),
    make("p", { id: "field-init_image-fault", className: "fault" }),
    make("p", { id: "field-init_image_id-fault", className: "fault" }));
  fieldset.setAttribute("aria-describedby", "field-init_image_id-fault");
  $("init").append(fieldset);
  $("field-init_image").setAttribute("aria-describedby", "field-init_image-fault");
  playground.addField("strength", { label: "Strength", place: "init-fields", helps: true });
  playground.addField("init_image_fit", { label: "Fit", place: "init-fields", helps: true });
  playground.acceptDrops($("init"), playground.useImage);
};

playground.begin.push(() => {
  playground.addInit();
  // A file that is dropped beside these places would replace the page, and the token with it.
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
  addEventListener("paste", ({ clipboardData }) => {
    const [file] = clipboardData?.files ?? [];
    if (file?.type.startsWith("image/") && playground.known) playground.useImage(file, file.name);
  });
  const { refill, leave } = playground;
  playground.refill = (body) => {
    playground.restoreImage(body);
    refill(body);
  };
  playground.leave = (why) => {
    playground.removeImage();
    playground.uploads.clear();
    leave(why);
  };
});
playground.parts.push(() => playground.init?.part ?? {});
playground.tiles.push((actions, job, image) => {
  const use = async () => {
    try {
      const extension = image.content_type === "image/png" ? "png" : "jpg";
      await playground.useImage(await playground.imageBlob(job, image), `${job.id}-${image.index}.${extension}`);
      playground.$("field-strength").focus();
    } catch (error) {
      playground.fail(error);
    }
  };
  actions.append(playground.button("Use as init image", use));
});
