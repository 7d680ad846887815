"use strict";

// Verify: what a file says of its origin, in plain words.

playground.VERIFIED_BYTES = 4_500_000;

// The sentences for an answer of POST /verify. The first one is the finding.
playground.findings = ({ marked, digital_source_type: term, c2pa, ours, bytes, job_id: job, index, seed }) => {
  const lines = [];
  if (ours && bytes === "exact") {
    lines.push("This service generated this file, and it is unchanged.");
  } else if (ours) {
    lines.push("It carries a mark of this service, but is not the file that was generated.",
      "It was encoded anew, scaled or edited, or the mark was copied into it from another file.");
  } else if (marked) {
    lines.push("It says that it is AI-made, and has no valid mark of this service.", "Anybody can write that.");
  } else {
    lines.push("It does not say that it is AI-made.", "That proves nothing: such marks are easily lost or removed.");
  }
  if (ours) lines.push([job ? `Job ${job}` : "A job of another client", `image ${index + 1}`, `seed ${seed}`].join(", ") + ".");
  if (term) lines.push(`Its source, in the terms of IPTC: ${term}.`);
  if (c2pa) lines.push("It has a C2PA manifest, which was not validated.");
  return lines;
};

playground.verify = async (blob, name) => {
  const { make, $ } = playground;
  const result = $("verified");
  result.className = "";
  result.replaceChildren(make("p", { textContent: `Reading ${name}…` }));
  try {
    if (blob.size > playground.VERIFIED_BYTES) {
      throw new Error(`${name} has ${playground.megabytes(blob.size)}, and ${playground.megabytes(playground.VERIFIED_BYTES)} is the most.`);
    }
    const body = { image: await playground.dataUri(blob) };
    const { json } = await playground.call("verify", { method: "POST", body });
    const [finding, ...rest] = playground.findings(json);
    result.classList.toggle("sure", json.ours && json.bytes === "exact");
    result.replaceChildren(make("strong", { textContent: finding }), ...[name, ...rest].map((textContent) => make("p", { textContent })));
  } catch (error) {
    const faults = (error.detail ?? []).map(({ msg }) => msg);
    const [finding, ...rest] = faults.length > 0 ? faults : [error.message];
    result.className = "wrong";
    result.replaceChildren(make("strong", { textContent: finding }), ...[name, ...rest].map((textContent) => make("p", { textContent })));
  }
};

playground.begin.push(() => {
  const { make, $ } = playground;
  const section = $("verify");
  const heading = make("h2", { id: "verify-title", textContent: "Verify an image" });
  section.setAttribute("aria-labelledby", heading.id);
  section.append(heading,
    playground.picker("verify-file", "Was it made here? Choose a PNG, JPEG or WebP, or drop it here", playground.verify),
    make("div", { id: "verified", "aria-live": "polite" }));
  playground.acceptDrops(section, playground.verify);
  const { leave } = playground;
  playground.leave = (why) => {
    $("verified").replaceChildren(); // it names jobs of the client that leaves
    leave(why);
  };
});
playground.tiles.push((actions, job, image) => {
  const verify = async () => {
    try {
      playground.$("verify").scrollIntoView({ block: "nearest" });
      await playground.verify(await playground.imageBlob(job, image), `The stored image ${image.index + 1}`);
      playground.$("verified").scrollIntoView({ block: "nearest" });
    } catch (error) {
      playground.fail(error);
    }
  };
  actions.append(playground.button("Verify", verify));
});
