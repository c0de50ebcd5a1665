// What a page without script cannot do: search as one types, keys, news without reloading. Everything it shows comes
// from the server as a part of a page and takes the place of the same part.
"use strict";

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const PAUSE = 150; // ms without a key before the search is asked

// --- parts of the page ------------------------------------------------------------------------------------------

async function fetched(address) {
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  if (answer.status === 403) location.assign("/"); // the session is over
  return answer.ok ? answer.text() : null;
}

function placed(element, html) {
  // The one place where a text becomes elements: the server's own templates, in which all else is escaped.
  const parsed = new DOMParser().parseFromString(html, "text/html");
  element.replaceChildren(...parsed.body.childNodes);
}

function tell(words) {
  const region = one("#told");
  region.textContent = "";
  requestAnimationFrame(() => { region.textContent = words; });
}

// --- search as you type -----------------------------------------------------------------------------------------

function searching() {
  const input = one("#q"), list = one("#list");
  if (!input) return;
  let waiting = 0, asked = 0;
  const ask = async () => {
    const mine = ++asked, q = input.value.trim();
    const html = await fetched(`/contacts?part=list&q=${encodeURIComponent(q)}`);
    if (html === null || mine !== asked) return; // an older answer that came late
    placed(list, html);
    markChosen();
    const count = all(".row", list).length;
    tell(count === 1 ? "1 contact" : `${count} contacts`);
  };
  input.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(ask, PAUSE); });
  input.form.addEventListener("submit", (event) => {
    const first = one(".row", list);
    if (first && input.value.trim()) { event.preventDefault(); location.assign(first.href); }
  });
}

const named = (address) => decodeURIComponent(new URL(address).pathname).toLowerCase();

function markChosen() {
  for (const row of all("#list .row")) {
    if (named(row.href) === named(location.href)) row.setAttribute("aria-current", "page");
  }
}

// --- keys -------------------------------------------------------------------------------------------------------

function step(by) {
  const rows = all("#list .row");
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  const from = at >= 0 ? at : rows.findIndex((row) => row.hasAttribute("aria-current"));
  rows[Math.min(Math.max(from + by, 0), rows.length - 1)].focus();
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, textarea, select");
  const listed = event.target.matches("#q, #list .row");
  const key = event.key;
  if (key === "Escape" && event.target.matches("#q")) { event.target.blur(); return; }
  if (typing && !(listed && (key === "ArrowDown" || key === "ArrowUp"))) return;
  if (key === "/") one("#q")?.focus();
  else if (key === "j" || (key === "ArrowDown" && listed)) step(1);
  else if (key === "k" || (key === "ArrowUp" && listed)) step(-1);
  else return;
  event.preventDefault();
}

searching();
document.addEventListener("keydown", keys);
one("#list [aria-current]")?.scrollIntoView({ block: "nearest" });
