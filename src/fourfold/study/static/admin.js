// The admin page: asks for everyone's progress every few seconds and shows it; text is only ever set as text.

import { request } from "./api.js";

const EVERY_MS = 4000;
const byId = (id) => document.getElementById(id);

function cell(...content) {
  const box = document.createElement("td");
  box.append(...content);
  return box;
}

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
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
  if (!screen) return element("span", "not checked yet", "quiet");
  const text = `${screen.window_width} × ${screen.window_height}, ratio ${screen.pixel_ratio}, ×${screen.magnification}`;
  return element("span", screen.fits ? text : `${text}: too small`, screen.fits ? "" : "flag");
}

function progressBar(rater) {
  const bar = document.createElement("progress");
  bar.max = rater.total;
  bar.value = rater.done;
  bar.setAttribute("aria-label", `${rater.done} of ${rater.total}`);
  return bar;
}

function accessButton(rater) {
  const shut = rater.revoked_at !== null;
  const button = element("button", shut ? "Let in again" : "Shut out");
  button.type = "button";
  button.dataset.rater = rater.id;
  button.setAttribute("aria-label", `${button.textContent}: ${rater.id}`);
  button.addEventListener("click", async () => {
    if (!shut && !confirm(`Shut out ${rater.id}? The ratings stay; the link stops working.`)) return;
    try {
      show(await request("/admin/api/access", { rater: rater.id, revoked: !shut }));
    } catch (error) {
      alert(`${rater.id} is still ${shut ? "shut out" : "let in"}: ${error.message}. Try again.`);
    }
  });
  return button;
}

function row(rater) {
  const line = document.createElement("tr");
  line.classList.toggle("shut", rater.revoked_at !== null);
  line.append(
    cell(element("span", rater.id, "who"), element("span", rater.name)),
    cell(progressBar(rater), `${rater.done} of ${rater.total}`),
    cell(String(rater.undone)),
    cell(ago(rater.last_at)),
    cell(screenText(rater.screen)),
    cell(accessButton(rater)),
  );
  return line;
}

function show(overview) {
  byId("sum-raters").textContent = overview.raters.length;
  byId("sum-finished").textContent = overview.finished;
  byId("sum-ratings").textContent = overview.ratings.toLocaleString("en");
  const last = overview.raters.map((rater) => rater.last_at).filter(Boolean).sort().pop();
  byId("sum-last").textContent = ago(last);
  if (overview.raters.length === 0) {
    const empty = cell("Nobody has opened a link yet.");
    empty.colSpan = 6;
    empty.className = "quiet";
    const line = document.createElement("tr");
    line.append(empty);
    byId("raters").replaceChildren(line);
    return;
  }
  // keep the keyboard where it is while the table is redrawn
  const focused = document.activeElement?.dataset.rater;
  byId("raters").replaceChildren(...overview.raters.map(row));
  if (focused) document.querySelector(`button[data-rater="${CSS.escape(focused)}"]`)?.focus();
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
