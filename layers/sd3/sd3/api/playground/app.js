"use strict";

// Begins: the token, what is left of the budget, and the two states of the page.

playground.STORED = "sd3-playground";
playground.tab = (() => {
  try {
    return sessionStorage;
  } catch {
    return null; // a browser may be told to store nothing
  }
})();

// What a tab remembers, if its user wants that: the token, and requests without their init images.
playground.saveTab = () => {
  if (!playground.$("remember").checked) return;
  const requests = [...playground.requests].slice(-playground.HISTORY).map(([id, { init_image: _bytes, ...rest }]) => [id, rest]);
  playground.tab?.setItem(playground.STORED, JSON.stringify({ token: playground.token, requests }));
};

playground.loadUsage = async () => {
  const { json } = await playground.call("usage");
  const { today } = json;
  const spent = playground.dollars(today.cost_usd + today.reserved_usd);
  const left = today.left_usd === null ? `${spent} spent today` : `${playground.dollars(today.left_usd)} left today`;
  playground.$("usage").textContent = `${json.client_id} · ${left}`;
};

// Go back to the question for a token, and forget the one that there was.
playground.leave = (why = "") => {
  playground.visit += 1;
  playground.follower?.abort();
  playground.setBusy(false);
  for (const timer of [playground.pricing, playground.counting]) clearTimeout(timer);
  playground.tab?.removeItem(playground.STORED);
  Object.assign(playground, { token: "", known: false, unanswered: null, jobs: new Map(), thumbnails: new Map(), requests: new Map() });
  playground.clearStage();
  playground.clearFaults();
  playground.$("history").hidden = true;
  playground.$("usage").textContent = "";
  playground.enter(false);
  playground.$("token").value = "";
  playground.$("token-fault").textContent = why;
  playground.$("token").focus();
};

playground.enter = (isIn) => {
  playground.$("gate").hidden = isIn;
  playground.$("work").hidden = !isIn;
  playground.$("leave").hidden = !isIn;
};

// Use a token if the service knows it.
playground.use = async (token) => {
  if (!/^[\x21-\x7e]+$/.test(token)) return playground.leave("A token has letters, digits and signs, and no spaces.");
  playground.token = token;
  playground.visit += 1;
  try {
    await playground.loadUsage();
  } catch (error) {
    return playground.leave(error.status ? error.message : "The service cannot be reached.");
  }
  playground.known = true;
  playground.$("token-fault").textContent = "";
  playground.saveTab();
  playground.enter(true);
  playground.controls.get("prompt").focus();
  playground.changed();
  await playground.loadHistory();
};

playground.start = async () => {
  try {
    playground.document = (await playground.call("openapi.json")).json;
  } catch {
    playground.$("gate").hidden = false;
    playground.$("token-fault").textContent = "The service cannot be reached. Load the page again.";
    return;
  }
  for (const begin of playground.begin) begin();
  playground.$("leave").addEventListener("click", () => playground.leave());
  playground.$("gate").addEventListener("submit", (event) => {
    event.preventDefault();
    playground.use(playground.$("token").value.trim());
  });
  const stored = JSON.parse(playground.tab?.getItem(playground.STORED) ?? "null");
  if (!stored) return playground.leave();
  playground.$("remember").checked = true;
  playground.requests = new Map(stored.requests);
  await playground.use(stored.token);
};

playground.start();
