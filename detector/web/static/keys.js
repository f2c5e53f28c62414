// j k o a e r ? for those who keep their hands on the keyboard; never while somebody writes.
export function keys() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), textarea, select, dialog")) return;
    const act = (document.body.dataset.page === "board" ? board : incident)[event.key] ?? both[event.key];
    if (act) { event.preventDefault(); act(); }
  });
}

const both = { "?": () => document.getElementById("keys").showModal() };

const all = () => [...document.querySelectorAll("#rows > .row")];
const here = () => document.querySelector("#rows > .row.here");

function step(by) {
  const rows = all();
  if (!rows.length) return;
  const at = rows.indexOf(here());
  const row = rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
  here()?.classList.remove("here");
  row.classList.add("here");
  row.querySelector(".what").focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function open(anchor = "") {
  const link = here()?.querySelector(".what");
  if (link) location.href = link.href + anchor;
}

const board = {
  j: () => step(1), k: () => step(-1), o: () => open(), e: () => open("#open-escalate"), r: () => open("#open-resolve"),
  a: () => here()?.querySelector(".ack button")?.click(),
  x: () => here()?.querySelector(".pick-row input")?.click(),
};

function unfold(name) {
  const summary = document.getElementById(`open-${name}`);
  if (!summary) return;
  summary.parentElement.open = true;
  summary.parentElement.querySelector("select, textarea, input:not([type=hidden])")?.focus();
}

const incident = {
  o: () => { location.href = "/"; },
  a: () => document.getElementById("do-ack")?.focus(),
  e: () => unfold("escalate"), r: () => unfold("resolve"),
};

const named = () => { if (location.hash.startsWith("#open-")) unfold(location.hash.slice(6)); };
addEventListener("hashchange", named);
named();
