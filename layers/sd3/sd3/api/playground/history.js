"use strict";

// The last jobs of the client, and what this tab knows of their requests.

playground.HISTORY = 20;
playground.jobs = new Map(); // by id, newest first

playground.loadHistory = async () => {
  try {
    const { json } = await playground.call(`jobs?limit=${playground.HISTORY}`);
    const fresh = json.jobs.map((job) => [job.id, job]);
    playground.jobs = new Map([...playground.jobs, ...fresh].sort(([, a], [, b]) => (a.created_at < b.created_at ? 1 : -1)));
    playground.drawHistory();
  } catch (error) {
    playground.fail(error);
  }
};

// Keep a job that was shown in the list, as it is now.
playground.remember = (job) => {
  const isNew = !playground.jobs.has(job.id);
  playground.jobs = new Map(isNew ? [[job.id, job], ...playground.jobs] : playground.jobs.set(job.id, job));
  playground.drawHistory();
  clearTimeout(playground.counting);
  playground.counting = setTimeout(() => playground.loadUsage().catch(() => {}), 1500); // the ledger follows the job
};

playground.drawHistory = () => {
  const latest = [...playground.jobs.values()].slice(0, playground.HISTORY);
  playground.$("history").hidden = latest.length === 0;
  const focused = document.activeElement?.dataset.job;
  playground.$("jobs").replaceChildren(...latest.map(playground.entry));
  if (focused) document.querySelector(`[data-job="${CSS.escape(focused)}"]`)?.focus();
  playground.loadThumbnails(latest);
};

playground.entry = (job) => {
  const prompt = playground.requests.get(job.id)?.prompt;
  const time = new Date(job.created_at).toLocaleString();
  const count = job.images.length > 1 ? `${job.images.length} images` : "";
  const name = [prompt, count, job.status, time].filter(Boolean).join(", ");
  const entry = playground.button("", () => playground.recall(job.id), { className: `entry ${job.status}`, title: name, "aria-label": name });
  entry.dataset.job = job.id;
  if (playground.job?.id === job.id) entry.setAttribute("aria-current", "true");
  entry.append(playground.thumbnail(job));
  if (job.images.length > 1) entry.append(playground.make("span", { className: "count", textContent: job.images.length }));
  return playground.make("li", {}, entry);
};

playground.thumbnail = (job) => {
  const instead = playground.make("span", { textContent: job.status });
  const src = playground.thumbnails.get(job.id);
  if (!src) return instead;
  const image = playground.make("img", { src, alt: "" });
  image.addEventListener("error", () => { // its link has ended: the next list has a new one
    playground.thumbnails.delete(job.id);
    image.replaceWith(instead);
  });
  return image;
};

// One after the other: each is a call of the API, and makes a rendition when it is the first.
playground.thumbnails = new Map();
playground.loadThumbnails = async (jobs) => {
  const missing = jobs.filter(({ id, images }) => !playground.thumbnails.has(id) && images.some(({ url }) => url));
  for (const job of missing) {
    if (playground.thumbnails.has(job.id)) continue; // another round has it
    playground.thumbnails.set(job.id, "");
    const image = job.images.find(({ url }) => url);
    const url = await playground.link(job, image, { width: playground.renditionWidth(image, 128), format: "webp" }).catch(() => image.url);
    playground.thumbnails.set(job.id, url);
    document.querySelector(`[data-job="${CSS.escape(job.id)}"] > :first-child`)?.replaceWith(playground.thumbnail(job));
  }
};

// Show a job again, and put its request back into the form as far as it is known here.
playground.recall = async (id) => {
  playground.follower?.abort();
  try {
    const { json: job } = await playground.call(`jobs/${encodeURIComponent(id)}`);
    playground.job = null; // so that its images get new links
    playground.refill(playground.requests.get(id) ?? playground.guess(job));
    await playground.take(job);
    playground.$("stage").focus();
  } catch (error) {
    if (error.status === 404 || error.status === 410) playground.jobs.delete(id);
    playground.drawHistory();
    playground.fail(error);
  }
};

// What a job tells of its request. It has no prompt.
playground.guess = ({ images }) => {
  const [first] = images;
  if (!first) return { prompt: playground.controls.get("prompt").value };
  return {
    prompt: playground.controls.get("prompt").value,
    num_images: images.length,
    seed: images.length > 1 ? images.map(({ seed }) => seed) : first.seed,
    ...(first.width ? { width: first.width, height: first.height } : {}),
    ...(first.content_type === "image/png" ? { image_encoding: "png" } : {}),
  };
};
