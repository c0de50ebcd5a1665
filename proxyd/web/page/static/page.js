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
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const path = focused && (focused.id ? `#${CSS.escape(focused.id)}` : focused.href && `a[href="${CSS.escape(focused.getAttribute("href"))}"]`);
  element.replaceChildren(...parsed.body.childNodes);
  if (path) one(path, element)?.focus({ preventScroll: true });
}

function tell(words) {
  const region = one("#told");
  region.textContent = "";
  requestAnimationFrame(() => { region.textContent = words; });
}

const listOf = () => `/contacts?part=list&q=${encodeURIComponent(one("#q").value.trim())}&listed=${one("#list").dataset.listed ?? ""}`;

// --- search as you type -----------------------------------------------------------------------------------------

function searching() {
  const input = one("#q"), list = one("#list");
  if (!input) return;
  let waiting = 0, asked = 0;
  const ask = async () => {
    const mine = ++asked;
    const html = await fetched(listOf());
    if (html === null || mine !== asked) return; // an older answer that came late
    placed(list, html);
    markChosen();
    const count = all(".row", list).length;
    tell(count === 1 ? "1 contact" : `${count} contacts`);
  };
  input.addEventListener("input", () => { delete list.dataset.listed; clearTimeout(waiting); waiting = setTimeout(ask, PAUSE); });
  list.addEventListener("click", (event) => {
    const more = event.target.closest(".more-people");
    if (!more || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    list.dataset.listed = more.dataset.listed;
    ask();
  });
  input.form.addEventListener("submit", (event) => {
    const first = one(".row, .everywhere", list);
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
  const rows = all("#list .row, #list .everywhere");
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  const from = at >= 0 ? at : rows.findIndex((row) => row.hasAttribute("aria-current"));
  rows[Math.min(Math.max(from + by, 0), rows.length - 1)].focus();
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, textarea, select");
  const listed = event.target.matches("#q, #list .row, #list .everywhere");
  const key = event.key;
  if (key === "Escape" && event.target.matches("#q")) { event.target.blur(); return; }
  if (typing && !(listed && (key === "ArrowDown" || key === "ArrowUp"))) return;
  if (key === "/") one("#q")?.focus();
  else if (key === "j" || (key === "ArrowDown" && listed)) step(1);
  else if (key === "k" || (key === "ArrowUp" && listed)) step(-1);
  else return;
  event.preventDefault();
}

// --- writing ----------------------------------------------------------------------------------------------------

const composer = one("#composer");

async function compose(address) {
  const html = await fetched(`${address}&part=form`);
  if (html === null) { location.assign(address); return; }
  placed(composer, html);
  composer.hidden = false;
  sessionStorage.setItem("composing", address); // where one was, not what one wrote
  const text = one("textarea", composer), to = one('[name="to"]', composer);
  (to.value ? text : to).focus();
  text.setSelectionRange(0, 0);
  text.scrollTop = 0;
}

function closed() {
  composer.hidden = true;
  composer.replaceChildren();
  sessionStorage.removeItem("composing");
}

async function posted(form, address, part) {
  const fields = new FormData(form);
  if (address !== "/compose") fields.delete("files");
  return fetch(`${address}${part ? "?part=form" : ""}`, { method: "POST", body: fields });
}

async function sent(form) {
  const button = one(".send", form);
  button.disabled = true;
  button.textContent = "Sending…";
  const answer = await posted(form, "/compose", true).catch(() => null);
  if (answer === null) {
    button.disabled = false;
    button.textContent = "Send";
    one(".kept", form).textContent = "Not sent: proxyd does not answer. Try again.";
    return;
  }
  placed(composer, await answer.text());
  const said = one("[data-sent]", composer);
  if (!said) return; // the form again, with the reason
  sessionStorage.removeItem("composing");
  tell(said.textContent);
  refresh();
  setTimeout(() => { if (said.isConnected) closed(); }, 5000);
}

// What is attached goes into the draft at once: it is there after a reload, and the letter goes out sooner.
async function attached(input) {
  const form = input.form, label = one("span", input.closest("label")), button = one(".send", form);
  label.textContent = [...input.files].map((file) => file.name).join(", ");
  one(".kept", form).textContent = "Attaching…";
  button.disabled = true;
  const kept = await filed(form, "/drafts?part=files", new FormData(form));
  button.disabled = false;
  one(".kept", form).textContent = kept || "Not kept with the draft; they go with the letter all the same";
  if (kept) { input.value = ""; label.textContent = "Attach"; }
}

async function filed(form, address, fields) {
  const answer = await fetch(address, { method: "POST", body: fields }).catch(() => null);
  if (!answer?.ok) return "";
  placed(one(".draft-files", form), await answer.text());
  return "Draft kept";
}

function writing() {
  if (!composer) return;
  let waiting = 0;
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="/compose?"]');
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); compose(link.getAttribute("href")); }
    if (event.target.closest(".shut")) closed();
  });
  composer.addEventListener("input", (event) => {
    const form = event.target.form;
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const answer = await posted(form, "/drafts", false).catch(() => null);
      const kept = one(".kept", form);
      if (kept) kept.textContent = answer?.ok ? "Draft kept" : "Draft not kept";
    }, 500);
  });
  document.addEventListener("change", (event) => {
    if (event.target.type === "file" && event.target.files.length) attached(event.target);
  });
  document.addEventListener("click", async (event) => {
    const off = event.target.closest('button[name="detach"]');
    if (!off) return;
    event.preventDefault();
    const fields = new FormData(off.form);
    fields.delete("files");
    fields.set("detach", off.value);
    await filed(off.form, "/drafts/detach?part=files", fields);
    one(".attach input", off.form)?.focus();
  });
  composer.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    if (event.submitter?.matches(".discard")) { await posted(event.target, "/drafts/discard", false); closed(); return; }
    sent(event.target);
  });
  composer.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) one("form", composer)?.requestSubmit(one(".send", composer));
    if (event.key === "Escape") { closed(); one("#main").focus(); }
  });
  const before = sessionStorage.getItem("composing");
  if (before?.startsWith("/compose?") && location.pathname.startsWith("/contacts/")) compose(before);
}

// --- news -------------------------------------------------------------------------------------------------------

const essence = (message) => {
  const copy = message.cloneNode(true);
  for (const each of all("time", copy)) each.textContent = "";
  for (const each of all("details", copy)) each.open = false;
  copy.classList.remove("fresh");
  return copy.outerHTML;
};

// A story is put in place message by message: what did not change stays the same element, as a person left it.
function retold(element, html) {
  const parsed = new DOMParser().parseFromString(html, "text/html").body;
  const fresh = [];
  for (const message of all("[data-message]", parsed)) {
    const before = document.getElementById(message.id);
    if (before && essence(before) === essence(message)) { message.replaceWith(before.cloneNode(false)); continue; }
    if (!before) { message.classList.add("fresh"); fresh.push(message); continue; }
    const open = all("details", before).map((each) => each.open);
    all("details", message).forEach((each, n) => { each.open = Boolean(open[n]); });
  }
  for (const husk of all("[data-message]:empty", parsed)) husk.replaceWith(document.getElementById(husk.id));
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  element.replaceChildren(...parsed.childNodes);
  focused?.isConnected && focused.focus({ preventScroll: true });
  return fresh.filter((each) => each.matches(".incoming")).map((each) => one(".from strong", each).textContent);
}

async function refresh() {
  const list = one("#list"), story = one("#timeline");
  if (list) {
    const html = await fetched(listOf());
    if (html !== null) { placed(list, html); markChosen(); }
  }
  if (story) {
    const before = new URLSearchParams(location.search).get("before") ?? "";
    const html = await fetched(`${location.pathname}?part=timeline&before=${encodeURIComponent(before)}`);
    const from = html === null ? [] : retold(story, html);
    if (from.length) tell(`New message from ${[...new Set(from)].join(" and ")}`);
  }
  for (const part of all("#latest, #accounts, #suggestions")) {
    const html = await fetched(`${location.pathname}?part=${part.dataset.part}`);
    if (html !== null) placed(part, html);
  }
}

// A browser keeps six connections to one host, so a page that nobody sees gives its own up.
function listening() {
  let stream = null, waiting = 0, first = true;
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(refresh, 60); };
  const open = () => {
    stream = new EventSource("/events");
    stream.addEventListener("ready", () => { if (!first) soon(); first = false; document.body.dataset.live = "yes"; });
    for (const name of ["message", "contact", "account"]) stream.addEventListener(name, soon);
    stream.addEventListener("error", () => { delete document.body.dataset.live; if (stream?.readyState === EventSource.CLOSED) soon(); });
  };
  const close = () => { stream?.close(); stream = null; delete document.body.dataset.live; };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (stream === null) open();
  });
  if (!document.hidden) open();
}

function clocks() {
  const now = Date.now();
  for (const each of all("time[datetime]")) {
    const minutes = Math.floor((now - Date.parse(each.dateTime)) / 60000);
    if (minutes >= 0 && minutes < 60) each.textContent = minutes < 1 ? "just now" : `${minutes} min ago`;
    else if (minutes < 120) each.textContent = new Date(each.dateTime).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  }
}

searching();
writing();
if (one(".bar")) listening();
setInterval(clocks, 30000);
document.addEventListener("keydown", keys);
one("#list [aria-current]")?.scrollIntoView({ block: "nearest" });
