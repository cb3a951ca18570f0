// The admin page: asks for everyone's progress every few seconds and shows it; text is only ever set as text.

import { request } from "./api.js";

const EVERY_MS = 4000;
const byId = (id) => document.getElementById(id);

function element(name, className = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  return made;
}

/** Sets what differs, and nothing else: a selection in what stays the same is not lost. */
function change(node, values) {
  for (const [name, value] of Object.entries(values)) if (node[name] !== value) node[name] = value;
}

function ago(stamp) {
  if (!stamp) return "–";
  const minutes = Math.floor((Date.now() - Date.parse(stamp)) / 60000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 48 * 60) return `${Math.round(minutes / 60)} h ago`;
  return new Date(stamp).toLocaleDateString();
}

function screenText(screen) {
  if (!screen) return { textContent: "not checked yet", className: "quiet" };
  const size = `${screen.window_width} × ${screen.window_height}`;
  const text = `${size}, ratio ${screen.pixel_ratio}, ×${screen.magnification}`;
  return { textContent: screen.fits ? text : `${text}: too small`, className: screen.fits ? "" : "flag" };
}

async function changeAccess(rater) {
  const shut = rater.revoked_at !== null;
  if (!shut && !confirm(`Shut out ${rater.id}? The ratings stay; the link stops working.`)) return;
  try {
    show(await request("/admin/api/access", { rater: rater.id, revoked: !shut }));
  } catch (error) {
    alert(`${rater.id} is still ${shut ? "shut out" : "let in"}: ${error.message}. Try again.`);
  }
}

/** A rater's row: made once and kept, for a press or a selection may last while the numbers change. */
class Row {
  constructor() {
    this.line = element("tr");
    const cells = Array.from({ length: 6 }, () => element("td"));
    this.line.append(...cells);
    [, , this.undone, this.last] = cells;
    this.id = element("span", "who");
    this.name = element("span");
    this.bar = element("progress");
    this.bar.value = 0; // without a value of its own it would say that nobody knows
    this.done = document.createTextNode("");
    this.screen = element("span");
    this.access = element("button");
    this.access.type = "button";
    this.access.addEventListener("click", () => changeAccess(this.rater));
    cells[0].append(this.id, this.name);
    cells[1].append(this.bar, this.done);
    cells[4].append(this.screen);
    cells[5].append(this.access);
  }

  show(rater) {
    this.rater = rater;
    const shut = rater.revoked_at !== null;
    const done = `${rater.done} of ${rater.total}`;
    const access = shut ? "Let in again" : "Shut out";
    this.line.classList.toggle("shut", shut);
    change(this.id, { textContent: rater.id });
    change(this.name, { textContent: rater.name });
    change(this.bar, { max: rater.total, value: rater.done });
    this.bar.setAttribute("aria-label", done);
    change(this.done, { data: done });
    change(this.undone, { textContent: String(rater.undone) });
    change(this.last, { textContent: ago(rater.last_at) });
    change(this.screen, screenText(rater.screen));
    change(this.access, { textContent: access });
    this.access.setAttribute("aria-label", `${access}: ${rater.id}`);
  }
}

const rows = new Map(); // of every rater's id

/** Puts the lines into the table in this order; what stands there already stays. */
function arrange(lines) {
  const table = byId("raters");
  for (const line of [...table.children]) if (!lines.includes(line)) line.remove();
  lines.forEach((line, n) => {
    if (table.children[n] !== line) table.insertBefore(line, table.children[n] ?? null);
  });
}

function nobody() {
  const line = element("tr");
  const empty = element("td", "quiet");
  empty.colSpan = 6;
  empty.textContent = "Nobody has opened a link yet.";
  line.append(empty);
  return line;
}

function show(overview) {
  change(byId("sum-raters"), { textContent: String(overview.raters.length) });
  change(byId("sum-finished"), { textContent: String(overview.finished) });
  change(byId("sum-ratings"), { textContent: overview.ratings.toLocaleString("en") });
  const last = overview.raters.map((rater) => rater.last_at).filter(Boolean).sort().pop();
  change(byId("sum-last"), { textContent: ago(last) });
  const lines = overview.raters.map((rater) => {
    if (!rows.has(rater.id)) rows.set(rater.id, new Row());
    rows.get(rater.id).show(rater);
    return rows.get(rater.id).line;
  });
  arrange(lines.length ? lines : [nobody()]);
}

async function refresh() {
  try {
    show(await request("/admin/api/progress"));
    byId("admin-offline").hidden = true;
  } catch {
    byId("admin-offline").hidden = false;
  }
  setTimeout(refresh, EVERY_MS);
}

refresh();
