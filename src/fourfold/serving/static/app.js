// The page: what belongs to what.

import { ask, bytesText, limitText, Problem, timeText } from "./api.js";
import { Viewer } from "./compare.js";
import { announce, mayDelete, notify } from "./messages.js";
import { Queue } from "./queue.js";
import { Rows, setbackText, stateText } from "./rows.js";
import { Saved } from "./saved.js";
import { Settings } from "./settings.js";
import { askForToken, onSignIn } from "./sign_in.js";
import { recall, remember } from "./tab.js";
import { startTheme } from "./theme.js";
import { inWords } from "./words.js";

const $ = (id) => document.getElementById(id);

const queue = new Queue(await batchOfThisTab());
const viewer = new Viewer(document);
const settings = new Settings($("settings-form"), $("settings-summary"));
const saved = new Saved();
const rows = new Rows($("queue"), $("row-template"), { choose, remove, again, saved: (item) => fetched(item.job) });
let selected = null;
let shown = ""; // what the viewer shows, so that progress does not redraw it

/** The label of this tab's jobs: a secret, kept so that a reload finds them again. */
async function batchOfThisTab() {
  let batch = recall("batch");
  if (!batch || !(await isMine(batch))) {
    const bytes = crypto.getRandomValues(new Uint8Array(18));
    batch = btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_");
    remember("batch", batch);
    await isMine(batch);
  }
  return batch;
}

/**
 * Takes a label for this tab. A tab that was duplicated brings its twin's along, and two lists of the same jobs would not
 * agree. After a reload, the page before may hold it a moment longer, which is longer where the machine is busy.
 */
function isMine(batch) {
  return new Promise((answer) => {
    if (!navigator.locks) answer(true); // plain HTTP from another machine: nobody can be asked
    const held = () => {
      answer(true);
      return new Promise(() => {}); // until the page goes
    };
    navigator.locks?.request(`fourfold-${batch}`, { signal: AbortSignal.timeout(2500) }, held).catch(() => answer(false));
  });
}

// ---- pictures in ----

function add(files) {
  const pictures = [...files];
  if (!pictures.length) return;
  announce(pictures.length === 1 ? `${pictures[0].name} added` : `${pictures.length} pictures added`);
  const [first] = queue.add(pictures, settings.options());
  if (!selected || selected.final) select(first);
  if (pictures.length === queue.items.length) $("settings").open = false; // the list needs the room
}

for (const button of document.querySelectorAll(".choose")) button.onclick = () => $("file").click();
$("file").onchange = () => {
  add($("file").files);
  $("file").value = ""; // the same picture may be chosen again
};

let depth = 0; // dragenter and dragleave come for every element on the way
addEventListener("dragenter", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault(); // or a drop just as the page changes under the pointer, before any dragover, is refused
  depth += 1;
  $("overlay").hidden = false;
});
addEventListener("dragleave", () => {
  depth = Math.max(0, depth - 1);
  if (!depth) $("overlay").hidden = true;
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  $("overlay").hidden = true;
  const items = [...(event.dataTransfer?.items || [])];
  const folders = items.filter((item) => item.webkitGetAsEntry?.()?.isDirectory);
  const kept = items.filter((item) => item.kind === "file" && !folders.includes(item));
  const files = kept.map((item) => item.getAsFile()).filter((file) => file && (file.size || file.type));
  if (files.length) add(files);
  if (folders.length && files.length) notify("Folders were left out. Open them and drop the pictures in them.");
  else if (items.length && !files.length) notify("There was no picture in what you dropped. Drop files, not folders or links.");
});
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files || [])].filter((file) => file.type.startsWith("image/"));
  if (files.length) add(files);
  else if (!event.target.matches?.("input, textarea")) notify("There is no picture in the clipboard.");
});

// ---- the list ----

queue.addEventListener("change", ({ detail: item }) => {
  if (item && queue.items.includes(item)) rows.update(item, item === selected);
  rows.keep(queue.items);
  if (selected && !queue.items.includes(selected)) selected = null;
  if (!selected && queue.items.length) select(queue.items[0]);
  if (!item || item === selected || !selected) showSelected();
  showFrame();
});
queue.addEventListener("finished", ({ detail: item }) => {
  if (item.setback) announce(`${item.name}: ${setbackText(item.setback)}`);
  else if (item.state === "done") announce([`${item.name} is done, ${stateText(item)}`, ...notesOf(item)].join("; "));
  if (item.state === "failed") announce(`${item.name} failed: ${item.problem?.title || ""}`);
});
queue.addEventListener("connection", ({ detail: good }) => {
  $("connection").hidden = good;
  if (good) showSelected(); // a picture that did not come while the server was away
});
queue.addEventListener("token", () => askForToken());

/** Selects a picture that somebody has pointed at; where the stage is out of sight, as on a phone, it comes there. */
function choose(item) {
  select(item);
  const { top, bottom } = $("stage").getBoundingClientRect();
  if (bottom > 120 && top < innerHeight - 120) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  $("stage").scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
}

function select(item) {
  selected = item;
  for (const one of queue.items) rows.update(one, one === item);
  showSelected();
  showFrame();
}

function remove(item) {
  if (item.final) discard([item]);
  else queue.cancel(item).catch(report);
}

/** Takes pictures off the list; whoever has not downloaded all of their results is asked first. */
async function discard(items) {
  const missing = saved.missing(items);
  if (missing.length && !(await mayDelete(missing))) return;
  for (const item of items) if (item.final && queue.items.includes(item)) queue.remove(item).catch(report);
}

function again(item) {
  queue.again(item, settings.options());
  select(item);
}

$("cancel-all").onclick = () => queue.items.filter((item) => !item.final).forEach((item) => queue.cancel(item).catch(report));
$("clear-button").onclick = () => discard(queue.items.filter((item) => item.final));
$("download-all").onclick = () => fetched(...finished().map(({ earlier, job }) => earlier || job));

/** Takes note of a download, which comes to nothing while the server is away. */
function fetched(...jobs) {
  if (navigator.onLine && $("connection").hidden) saved.add(...jobs);
}

/** The pictures of which the server has a result, and be it one that is about to be replaced. */
function finished() {
  return queue.items.filter((item) => item.state === "done" || item.earlier?.state === "done");
}

/** Everything around: what is there at all, the counts, the buttons below the list. */
function showFrame() {
  const focused = document.activeElement;
  const { items } = queue;
  const empty = items.length === 0;
  document.body.dataset.empty = empty;
  $("hero").hidden = !empty;
  $("stage").hidden = empty;
  $("queue-card").hidden = empty;
  const done = items.filter((item) => item.state === "done");
  const active = items.filter((item) => !item.final);
  $("count").textContent = active.length ? `${done.length} of ${items.length}` : items.length;
  const results = finished().length;
  $("download-all").hidden = results < 2;
  $("download-all").href = `v1/batches/${queue.batch}/archive`;
  $("download-all").querySelector("span").textContent = `Download ${results} as ZIP`;
  $("cancel-all").hidden = active.length === 0;
  $("clear-button").hidden = active.length > 0 || empty;
  document.title = active.length ? `(${done.length}/${items.length}) Fourfold` : "Fourfold";
  if (focused?.closest("[hidden]")) focusNear();
}

/** Moves the focus from what is not there any more to the picture shown, or to where pictures are chosen. */
function focusNear() {
  const places = [rows.buttonOf(selected), ...document.querySelectorAll(".queue-head .choose, .hero .choose")];
  places.find((place) => place && !place.closest("[hidden]"))?.focus();
}

/** The stage: the selected picture, before and after, or what keeps it. */
function showSelected() {
  if (!selected) return;
  const { job, state } = selected;
  const failed = state === "failed" || state === "cancelled" || state === "expired";
  $("failure").hidden = !failed;
  for (const inert of [$("canvas"), ...document.querySelectorAll(".tools-group")]) inert.inert = failed;
  $("waiting").hidden = failed || state === "done";
  showFacts(selected);
  showNotes(selected);
  if (failed) return showFailure(selected);
  if (state !== "done") showWaiting(selected);
  const signature = `${selected.key} ${job?.id || ""} ${state === "done"} ${Boolean(job)}`;
  if (signature === shown) return;
  const same = shown.startsWith(selected.key);
  shown = signature;
  const [width, height] = job ? [4 * job.source.width, 4 * job.source.height] : [1600, 1200];
  viewer.show({
    before: job || !selected.url ? beforeAddress(selected) : selected.url,
    after: state === "done" ? `v1/jobs/${job.id}/preview?of=result` : null,
    width: job?.result?.width || width,
    height: job?.result?.height || height,
    name: selected.name,
    same,
  });
}

for (const image of [$("image-before"), $("image-after")]) {
  image.addEventListener("error", () => {
    if (image.src.startsWith("blob:")) return; // this browser cannot show it, and never will
    image.removeAttribute("src");
    shown = ""; // asked for again when the connection is back, or the picture is chosen again
  });
}

/** What browsers cannot show, or show in other colours, comes from the server; it exists once the job runs. */
function beforeAddress(item) {
  const shows = ["png", "jpg", "webp", "avif", "gif"].includes(item.job?.source.format);
  if (item.url && shows) return item.url;
  return item.state === "done" ? item.previewAddress : null;
}

/** Shows the name, which gives way where there is no room, and the sizes, which do not. */
function showFacts({ name, job }) {
  let sizes = "";
  if (job?.source.width) sizes = `${job.source.width} × ${job.source.height}`;
  if (job?.result) sizes += ` → ${job.result.width} × ${job.result.height}, ${bytesText(job.result.bytes)}`;
  $("facts-name").textContent = name;
  $("facts-sizes").textContent = sizes;
  $("facts").title = `${name} ${sizes}`.trim();
}

/** What to know about a result: whether it is an earlier one, damage in the picture, what was converted or left out. */
function notesOf({ state, job, setback }) {
  if (state !== "done") return [];
  return [...(setback ? [setbackText(setback)] : []), ...(job.result.notes || [])];
}

function showNotes(item) {
  const notes = notesOf(item);
  $("notes").hidden = !notes.length;
  $("notes").replaceChildren(...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
}

function showWaiting(item) {
  const running = item.state === "running" && item.job.progress > 0;
  const titles = { waiting: "Waiting to be sent", sending: "Sending", queued: "In line", running: "Upscaling" };
  $("waiting-title").textContent = titles[item.state];
  $("waiting-detail").textContent = stateText(item);
  $("ring").parentElement.classList.toggle("busy", !running && item.state !== "sending");
  const share = item.state === "sending" ? item.sent : item.job?.progress || 0;
  $("ring").style.strokeDasharray = running || item.state === "sending" ? `${100 * share} 100` : "";
}

function showFailure(item) {
  shown = "";
  const plain = {
    cancelled: {
      title: "Cancelled",
      remedy: item.file ? "Use “once more” in the list to start it again." : "Choose the picture again to start anew.",
    },
    expired: inWords({ type: "expired" }),
  };
  const problem = plain[item.state] || item.problem || { title: "It failed" };
  $("failure-name").textContent = item.name;
  $("failure-title").textContent = problem.title;
  $("failure-detail").textContent = problem.detail ? sentence(problem.detail) : "";
  $("failure-remedy").textContent = problem.remedy || "";
}

function sentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

// ---- messages ----

function report(problem) {
  if (!(problem instanceof Problem)) throw problem;
  notify(problem.message);
}

// ---- keys ----

function step(by) {
  const at = queue.items.indexOf(selected);
  const next = queue.items[at + by];
  if (!next) return;
  select(next);
  rows.reveal(next);
  announce(`${next.name}, ${stateText(next)}`);
}

const KEYS = {
  o: () => $("file").click(),
  j: () => step(1),
  k: () => step(-1),
  d: () => selected?.state === "done" && rows.rows.get(selected.key).querySelector(".row-download").click(),
  b: () => viewer.swap(),
  f: () => fullScreen(),
  0: () => viewer.fit(),
  1: () => viewer.real(),
  "+": () => viewer.zoomBy(1.5),
  "=": () => viewer.zoomBy(1.5),
  "-": () => viewer.zoomBy(1 / 1.5),
  "?": () => $("help").showModal(),
};
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches?.("input:not([type=range]):not([type=radio]), select, textarea")) return;
  const action = KEYS[event.key.toLowerCase()];
  if (!action || (queue.items.length === 0 && !["o", "?"].includes(event.key.toLowerCase()))) return;
  event.preventDefault();
  action();
});

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else $("stage").requestFullscreen?.();
}
$("full-button").onclick = fullScreen;
$("help-button").onclick = () => $("help").showModal();

// ---- the server ----

function showLimits(limits) {
  queue.limits = limits;
  const mega = Number((limits.max_pixels / 1e6).toFixed(limits.max_pixels < 1e6 ? 2 : 1));
  $("limits-text").textContent = `PNG, JPEG, WebP, TIFF, AVIF or GIF, up to ${mega} megapixels and ${limitText(limits.upload_bytes)}.`;
  $("privacy").textContent = `Pictures go to this server only, and are deleted after ${timeText(limits.retention_s)}.`;
}

onSignIn(start);

let opened = false;
async function start() {
  try {
    showLimits(await ask("v1/limits"));
    settings.offer(await ask("v1/models"));
    if (opened) queue.resume();
    else await queue.open();
    if (!opened && queue.items.length) $("settings").open = false; // as after adding them
    opened = true;
    if (document.hidden) queue.rest();
    $("connection").hidden = true;
  } catch (problem) {
    if (problem.kind === "token-needed") return askForToken();
    if (!(problem instanceof Problem)) throw problem;
    $("connection").hidden = false;
    setTimeout(start, 3000);
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) queue.rest();
  else if (opened) queue.wake();
});
queue.addEventListener("finished", () => document.hidden && queue.rest());

// what waits in this tab is nowhere else: the server takes a few pictures of each client at a time
addEventListener("beforeunload", (event) => {
  if (queue.items.some((item) => ["waiting", "sending"].includes(item.state))) event.preventDefault();
});

startTheme($("theme-button"), $("theme-label"));
showFrame();
start();
