"use strict";

// What becomes of a request: the job, its place in the queue, its images.

playground.ENDED = ["succeeded", "failed", "canceled"];
playground.WAIT_SECONDS = 20; // the most that the API holds a GET of a job
playground.LOOK_SECONDS = 4; // where the job says how far it is: an ETag does not tell of that

// A key by which a repeated call is not paid twice. It stays while no answer came to the same request.
playground.keyOf = (body, prefer) => {
  const text = JSON.stringify([body, prefer]);
  if (playground.unanswered?.text !== text) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    const key = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    playground.unanswered = { text, key };
  }
  return playground.unanswered.key;
};

playground.generate = async () => {
  if (playground.busy) return;
  if (playground.uploading) return playground.say("The init image is not there yet");
  playground.clearFaults();
  playground.hasChanged = false;
  playground.$("alert").replaceChildren();
  const body = playground.request();
  const prefer = playground.$("queue").checked ? { Prefer: "respond-async" } : {};
  playground.follower?.abort();
  playground.setBusy(true);
  playground.draw(body);
  try {
    const headers = { "Idempotency-Key": playground.keyOf(body, prefer), ...prefer };
    const { json: job } = await playground.call("generate/sd3", { method: "POST", body, headers });
    playground.unanswered = null;
    playground.accepted(job.id, body);
    await playground.take(job);
  } catch (error) {
    const goesOn = error.code === "still_running" && error.jobId;
    if (goesOn || (error.status && error.status < 500)) playground.unanswered = null;
    if (goesOn) {
      playground.accepted(error.jobId, body);
      playground.follow(error.jobId);
    } else {
      playground.clearStage();
      playground.fail(error.status ? error : new Error(
        "No answer came. The service may have the request: send it again as it is, and it is paid once."));
    }
  } finally {
    playground.setBusy(false);
  }
};

playground.setBusy = (isBusy) => {
  playground.busy = isBusy;
  playground.$("send").setAttribute("aria-disabled", String(isBusy));
  playground.$("send-label").textContent = isBusy ? "Generating" : "Generate";
};

playground.accepted = (id, body) => {
  playground.requests.set(id, body);
  playground.saveTab();
};

// Show a job. One that has not ended is followed.
playground.take = async (job) => {
  playground.show(job);
  if (!playground.ENDED.includes(job.status)) playground.follow(job.id);
};

playground.follow = async (id) => {
  playground.follower?.abort();
  const stop = new AbortController();
  playground.follower = stop;
  const path = `jobs/${encodeURIComponent(id)}`;
  let tag = null;
  while (!stop.signal.aborted) {
    try {
      const tells = tag !== null && [playground.job?.queue_position, playground.job?.eta_seconds, playground.job?.progress].some((value) => value != null);
      const headers = { Prefer: `wait=${tag === null ? 0 : tells ? playground.LOOK_SECONDS : playground.WAIT_SECONDS}` };
      if (tag !== null && !tells) headers["If-None-Match"] = tag;
      const { status, json, headers: got } = await playground.call(path, { headers, signal: stop.signal });
      tag = got.get("ETag") ?? "";
      if (stop.signal.aborted) return;
      if (status !== 304) playground.show(json);
      if (json && playground.ENDED.includes(json.status)) return;
      const isHeld = got.has("Preference-Applied"); // not for who has begun too many waits
      if (!isHeld) await playground.sleep(1000 * Number(got.get("Retry-After") ?? 1), stop.signal);
    } catch (error) {
      if (stop.signal.aborted) return;
      if (error.status && error.status < 500 && error.status !== 429) return playground.fail(error);
      playground.say("The service cannot be reached. Trying again…");
      await playground.sleep(1000 * Number(error.retryAfter ?? 3), stop.signal);
    }
  }
};

playground.sleep = (milliseconds, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); });
  });

playground.cancel = async () => {
  const { job } = playground;
  try {
    const { json } = await playground.call(`jobs/${encodeURIComponent(job.id)}/cancel`, { method: "POST" });
    playground.follower?.abort();
    playground.show(json);
  } catch (error) {
    playground.fail(error);
  }
};

playground.clearStage = () => {
  playground.job = null;
  for (const id of ["grid", "facts", "job-tools"]) playground.$(id).replaceChildren();
  for (const id of ["progress", "cancel"]) playground.$(id).hidden = true;
  playground.$("empty").hidden = false;
  playground.say("");
};

// Bring the result into view where it is below the form.
playground.reveal = () => {
  const stage = playground.$("stage");
  if (stage.getBoundingClientRect().top > innerHeight * 0.7) stage.scrollIntoView();
};

// Show that something is being generated: a skeleton of the right shape for each image.
playground.draw = ({ num_images: count = 1, width = 1024, height = 1024 }) => {
  playground.clearStage();
  playground.$("empty").hidden = true;
  playground.$("progress").hidden = false;
  playground.$("progress").removeAttribute("value");
  playground.skeletons(Math.min(Math.max(Number(count) || 1, 1), 16), width, height);
  playground.say(count > 1 ? `Generating ${count} images…` : "Generating…");
  playground.reveal();
};

playground.skeletons = (count, width, height) => {
  const one = () => {
    const skeleton = playground.make("div", { className: "skeleton", "aria-hidden": "true" });
    skeleton.style.aspectRatio = `${width} / ${height}`;
    return skeleton;
  };
  playground.$("grid").className = count > 1 ? "many" : "";
  playground.$("grid").replaceChildren(...Array.from({ length: count }, one));
};

playground.show = (job) => {
  const isNew = playground.job?.id !== job.id || playground.job.status !== job.status;
  const isOpen = !playground.ENDED.includes(job.status);
  playground.job = job;
  playground.$("empty").hidden = true;
  playground.$("cancel").hidden = !isOpen;
  playground.showProgress(job, isOpen);
  playground.say(playground.statusOf(job));
  if (!isNew) return;
  playground.$("alert").replaceChildren();
  playground.$("job-tools").replaceChildren();
  if (isOpen) {
    const { num_images: count = 1, width = 1024, height = 1024 } = playground.requests.get(job.id) ?? {};
    playground.skeletons(count, width, height);
    playground.$("facts").textContent = `Job ${job.id}`;
  } else {
    playground.showEnded(job);
  }
  playground.remember(job);
  for (const tell of playground.shown) tell(job);
};

playground.showProgress = (job, isOpen) => {
  const bar = playground.$("progress");
  bar.hidden = !isOpen;
  if (job.progress) Object.assign(bar, { max: job.progress.of, value: job.progress.done });
  else bar.removeAttribute("value");
};

playground.duration = (seconds) =>
  seconds < 100 ? `${Math.max(Math.round(seconds), 1)} s` : `${Math.round(seconds / 60)} min`;

playground.statusOf = (job) => {
  const eta = job.eta_seconds == null ? "" : `, about ${playground.duration(job.eta_seconds)}`;
  const images = job.images.filter(({ url }) => url).length;
  if (job.status === "queued") {
    if (job.queue_position == null) return `Waiting in the queue${eta}`;
    const ahead = job.queue_position >= 1000 ? "1000 or more" : job.queue_position;
    return job.queue_position === 0 ? `Next in the queue${eta}` : `${ahead} ${ahead === 1 ? "job" : "jobs"} ahead${eta}`;
  }
  if (job.status === "running") {
    return job.progress ? `Generating: ${job.progress.done} of ${job.progress.of} images${eta}` : `Generating${eta}`;
  }
  if (job.status === "succeeded") return `${images === 1 ? "1 image" : `${images} images`} for ${playground.dollars(job.cost_usd)}`;
  return job.status === "canceled" ? "Canceled" : "Failed";
};

playground.showEnded = (job) => {
  const seconds = job.prediction_time_ms ? `${(job.prediction_time_ms / 1000).toFixed(1)} s` : "";
  const ignored = job.ignored.length ? `${job.upstream} did not follow ${job.ignored.join(", ")}` : "";
  playground.$("facts").textContent = [`Job ${job.id}`, job.upstream, seconds, ignored].filter(Boolean).join(" · ");
  playground.$("grid").className = job.images.length > 1 ? "many" : "";
  playground.$("grid").replaceChildren(...job.images.map((image) => playground.tile(job, image)));
  if (job.error) {
    playground.fail({ message: job.error.message, code: job.error.code, status: 200, detail: [] });
    playground.say(playground.statusOf(job));
  }
};

playground.tile = (job, image) => {
  const { make, button } = playground;
  const number = job.images.length > 1 ? `Image ${image.index + 1}` : "Image";
  const actions = make("div", { className: "actions" });
  const useSeed = () => {
    playground.controls.get("seed").value = image.seed;
    playground.changed();
    playground.say(`The next request uses seed ${image.seed}`);
  };
  actions.append(button(`Seed ${image.seed}`, useSeed, { className: "chip", title: "Use this seed again" }));
  const frame = make("div", { className: "frame" });
  const tile = make("figure", { className: "tile" }, frame, make("figcaption", {}, actions));
  if (!image.url) {
    const why = image.removed_for_safety ? "Removed for safety" : (image.error?.message ?? "The image could not be stored");
    frame.append(make("p", { className: "gone", textContent: `${number}: ${why}` }));
    return tile;
  }
  frame.style.aspectRatio = `${image.width} / ${image.height}`;
  frame.append(make("a", { href: image.url, target: "_blank", rel: "noopener noreferrer", title: "Open in full size" }, playground.picture(job, image, number)));
  actions.append(button("Download", () => playground.download(job, image), { "aria-label": `Download ${number.toLowerCase()}` }));
  for (const add of playground.tiles) add(actions, job, image);
  return tile;
};

// A rendition of the size in which it is seen, or the image itself if there is none.
playground.picture = (job, image, number) => {
  const prompt = playground.requests.get(job.id)?.prompt;
  const picture = playground.make("img", { alt: prompt ? `${number}: ${prompt}` : number, width: image.width, height: image.height });
  picture.addEventListener("load", () => picture.classList.add("loaded"));
  picture.addEventListener("error", () => {
    if (picture.src !== image.url) picture.src = image.url;
    else picture.closest(".frame").replaceChildren(playground.make("p", { className: "gone", textContent: `${number} could not be loaded` }));
  });
  const width = playground.renditionWidth(image, job.images.length > 1 ? 512 : 1024);
  playground.link(job, image, { width, format: "webp" }).catch(() => image.url).then((url) => { picture.src = url; });
  return picture;
};

playground.download = async (job, image) => {
  try {
    const url = await playground.link(job, image, { download: `${job.id}-${image.index}` });
    playground.make("a", { href: url }).click(); // S3 answers as an attachment: the page stays
  } catch (error) {
    playground.fail(error);
  }
};

playground.begin.push(() => playground.$("cancel").addEventListener("click", playground.cancel));
