// Live facts: the server says that something changed, the page reads itself anew and takes over what differs. On the
// other pages only the status line lives.
// Nothing moves under a pointer or a finger: while somebody is at the list, new rows wait behind "n new".
import { tick } from "./times.js";

const QUIET = 250, LEAST = 1000, BUSY = 4000, FRESH = 10_000;
let touched = -Infinity, timer = 0, reading = false, again = false, lastRead = 0;

export function follow() {
  const page = document.body.dataset.page, whole = ["board", "incident", "services"].includes(page);
  if (!("EventSource" in window)) return;
  watchHands();
  let source = null;
  const open = () => {
    source = new EventSource(`/api/events?last=${encodeURIComponent(document.body.dataset.here)}`);
    source.addEventListener("open", () => connection(true));
    source.addEventListener("error", () => connection(false));
    source.addEventListener("status", (event) => status(JSON.parse(event.data), whole));
    if (!whole) return;
    source.addEventListener("reset", soon);
    source.addEventListener("ticket", (event) => {
      document.body.dataset.here = event.lastEventId;
      const key = document.querySelector(".incident")?.dataset.key;
      if (!key || JSON.parse(event.data).key === key) soon();
    });
  };
  open();
  // A page that comes back from the browser's cache, or whose stream was refused for good, begins anew.
  const anew = () => { source.close(); open(); if (whole) soon(); };
  addEventListener("pageshow", (event) => { if (event.persisted) anew(); });
  addEventListener("pagehide", () => source.close());
  setInterval(() => { if (source.readyState === EventSource.CLOSED && !document.hidden) anew(); }, 15_000);
  // A browser opens six connections to one place: tabs that nobody sees leave them to others, all but the board, whose
  // title counts.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && source.readyState === EventSource.CLOSED) anew();
    else if (document.hidden && page !== "board") source.close();
  });
  document.querySelector("[data-waiting]")?.addEventListener("click", () => { touched = -Infinity; read(); });
}

function connection(live) {
  const sign = document.querySelector("[data-connection]");
  if (sign) sign.hidden = live;
}

function status(facts, whole) {
  for (const series of document.querySelectorAll("[data-series]")) {
    series.textContent = facts.series.toLocaleString("en");
  }
  for (const time of facts.evaluated_at ? document.querySelectorAll("[data-evaluated] time") : []) {
    time.dateTime = facts.evaluated_at;
    delete time.dataset.zoned;
  }
  // The first evaluation, and what began or ceased to trouble the detector itself, are worth reading the page anew.
  const evaluated = !facts.evaluated_at || document.querySelector("[data-evaluated]");
  if (whole && (!evaluated || facts.problems !== document.querySelectorAll(".trouble li").length)) soon();
}

function watchHands() {
  const rows = document.getElementById("rows");
  if (!rows) return;
  const touch = () => { touched = performance.now(); };
  for (const name of ["pointermove", "pointerdown", "touchstart", "keydown", "focusin"]) {
    rows.addEventListener(name, touch, { passive: true });
  }
}

const busy = () => performance.now() - touched < BUSY;

function soon() {
  clearTimeout(timer);
  timer = setTimeout(read, Math.max(QUIET, lastRead + LEAST - performance.now()));
}

async function read() {
  if (reading) { again = true; return; }
  reading = true;
  lastRead = performance.now();
  try {
    const answer = await fetch(place(), { headers: { Accept: "text/html" }, cache: "no-store" });
    // The session is over: the login says so.
    if (answer.redirected) return location.reload();
    if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    connection(false);
  } finally {
    reading = false;
    if (again) { again = false; soon(); }
  }
}

// Also where a form was refused: the address is then the act's, which cannot be read.
function place() {
  const key = document.querySelector(".incident")?.dataset.key;
  return key ? `/incidents/${encodeURIComponent(key)}` : location.href;
}

function take(fresh) {
  document.title = fresh.title;
  for (const region of fresh.querySelectorAll("[data-live]")) {
    const old = document.querySelector(`[data-live="${region.dataset.live}"]`);
    if (old) replace(old, region);
    else if (![...document.querySelectorAll("[data-live]")].some(inUse)) return location.reload();
  }
  rows(fresh);
  tick(document);
}

// A region in which somebody writes stays as it is; what was unfolded stays unfolded.
function replace(old, region) {
  if (inUse(old)) return;
  if (plainly(old) === plainly(region)) return;
  const unfolded = new Map([...old.querySelectorAll("details")].map((details, i) => [named(details, i), details.open]));
  old.className = region.className;
  old.replaceChildren(...document.importNode(region, true).childNodes);
  old.querySelectorAll("details").forEach((details, i) => { details.open = unfolded.get(named(details, i)) ?? false; });
}

const named = (details, i) => details.querySelector("summary").id || i;

function inUse(region) {
  if (region.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) return true;
  return [...region.querySelectorAll("textarea, input:not([type=hidden], [type=radio], [type=checkbox])")]
    .some((field) => field.value !== field.defaultValue);
}

// Times tick on their own: they are no change. A time that is another one is.
function plainly(element) {
  const copy = element.cloneNode(true);
  for (const time of copy.querySelectorAll("time")) {
    time.textContent = time.dateTime;
    time.removeAttribute("title");
    delete time.dataset.zoned;
  }
  for (const details of copy.querySelectorAll("details")) details.open = false;
  return copy.className + copy.innerHTML.replace(/\s+/g, " ");
}

function mark(row) {
  row.classList.add("fresh");
  setTimeout(() => row.classList.remove("fresh"), FRESH);
}

function rows(fresh) {
  const list = document.getElementById("rows"), next = fresh.getElementById("rows");
  if (!list || !next) return;
  const known = new Map([...list.children].map((row) => [row.dataset.key, row]));
  const wanted = [...next.children];
  for (const row of wanted) {
    const old = known.get(row.dataset.key);
    if (!old || plainly(old) === plainly(row)) continue;
    const changed = old.dataset.version !== row.dataset.version;
    const here = old.classList.contains("here"), marked = old.classList.contains("fresh");
    const chosen = old.querySelector(".pick-row input")?.checked;
    old.className = row.className;
    old.classList.toggle("here", here);
    old.classList.toggle("fresh", marked);
    old.dataset.version = row.dataset.version;
    old.replaceChildren(...document.importNode(row, true).childNodes);
    const box = old.querySelector(".pick-row input");
    if (box && chosen) box.checked = true;
    if (changed) mark(old);
  }
  const keys = new Set(wanted.map((row) => row.dataset.key));
  const added = wanted.filter((row) => !known.has(row.dataset.key));
  const waiting = document.querySelector("[data-waiting]");
  if (busy()) {
    for (const [key, row] of known) row.classList.toggle("gone", !keys.has(key));
    waiting.hidden = added.length === 0;
    waiting.textContent = `${added.length} new`;
    // When the hands have left the list, it is brought up to date.
    clearTimeout(timer);
    timer = setTimeout(read, BUSY);
    return;
  }
  waiting.hidden = true;
  for (const [key, row] of known) if (!keys.has(key)) row.remove();
  wanted.forEach((row, i) => {
    let mine = known.get(row.dataset.key);
    if (!mine) { mine = document.importNode(row, true); mark(mine); }
    mine.classList.remove("gone");
    if (list.children[i] !== mine) list.insertBefore(mine, list.children[i] ?? null);
  });
}
