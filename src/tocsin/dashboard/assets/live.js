// Keeps the parts of a page marked `data-live` up to date: a stream tells when they have changed, then they are fetched
// again. What the reader has in hand stays: the focus, the place, what is open. A hidden page does not listen.
const MAX_QUIET_MS = 30_000;

const control = document.querySelector("[data-live-from]");
const button = control.querySelector("button");
const status = control.querySelector("[role=status]");

let source = null;
let announcedAt = 0;
let isFetching = false;
let isStale = false;

function address() {
  const from = new URL(control.dataset.liveFrom, location);
  from.searchParams.set("seen", document.querySelector("[data-live]").dataset.seen);
  return from;
}

function listen() {
  if (source) return;
  source = new EventSource(address());
  source.addEventListener("changed", update);
  source.addEventListener("error", () => {
    if (source?.readyState === EventSource.CLOSED) show(false);
  });
}

function rest() {
  source?.close();
  source = null;
}

function show(isOn) {
  button.setAttribute("aria-pressed", String(isOn));
  button.querySelector("[data-live-on]").hidden = !isOn;
  button.querySelector("[data-live-off]").hidden = isOn;
  if (isOn && !document.hidden) listen();
  else rest();
}

async function update() {
  isStale = true;
  if (isFetching) return;
  isFetching = true;
  try {
    while (isStale) {
      isStale = false;
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!answer.ok || answer.redirected) return show(false);
      replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    }
  } catch {
    // The stream tries again by itself, and tells what was missed.
  } finally {
    isFetching = false;
  }
}

function replace(fresh) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const found = fresh.getElementById(old.id);
    if (!found) continue;
    const held = held_in(old);
    const open = new Set([...old.querySelectorAll("details[open][id]")].map((each) => each.id));
    const added = document.importNode(found, true);
    for (const each of added.querySelectorAll("details[id]")) each.open ||= open.has(each.id);
    old.replaceWith(added);
    if (held) added.querySelector(held)?.focus({ preventScroll: true });
  }
  const now = Date.now();
  if (now - announcedAt < MAX_QUIET_MS) return;
  announcedAt = now;
  status.textContent = "";
  setTimeout(() => (status.textContent = status.dataset.updated), 100);
}

// How to find again, in another copy, what has the focus here.
function held_in(part) {
  const active = document.activeElement;
  if (!part.contains(active) || active === part) return null;
  if (active.id) return `#${CSS.escape(active.id)}`;
  const href = active.getAttribute("href");
  return href ? `a[href="${CSS.escape(href)}"]` : null;
}

button.addEventListener("click", () => show(button.getAttribute("aria-pressed") !== "true"));
document.addEventListener("visibilitychange", () => show(button.getAttribute("aria-pressed") === "true"));
addEventListener("pagehide", rest);
addEventListener("pageshow", (event) => event.persisted && show(button.getAttribute("aria-pressed") === "true"));
control.hidden = false;
show(true);
