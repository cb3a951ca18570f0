// The rater's page: welcome and screen check, calibration, rating, pause, end. The server decides what comes next;
// this page shows it and keeps an unanswered rating until the server has it.

import { Refused, nonce, persistently, request, tryNow } from "./api.js";
import { load, magnification, place } from "./stage.js";

const SHORTEST_LOOK_MS = 250; // a second press of the same key must not rate the next picture unseen
const BREAK_AFTER_MS = 25 * 60 * 1000;
const ELSEWHERE = "This study went on elsewhere; here is where you are now.";

const byId = (id) => document.getElementById(id);
const stage = byId("stage");
const scores = [...document.querySelectorAll(".score")];
const largest = {
  width: Number(document.body.dataset.largestWidth),
  height: Number(document.body.dataset.largestHeight),
};
const rater = document.body.dataset.rater;
const pendingKey = `fourfold-study-pending-${rater}`;
const otherTabs = "BroadcastChannel" in window ? new BroadcastChannel(`fourfold-study-${rater}`) : null;

let state = null; // what the server said last
let shown = null; // { picture, canvas } on the stage, or null while there is none
let ahead = null; // { url, promise } of the next picture
let card = "loading"; // the card in front of the stage, or null while rating
let busy = false;
let shownAt = 0;
let ratingSince = Date.now();
let shownState = 0; // counts shows, so that a slow load cannot overwrite a later one

// ---- the score that is not answered yet

let unsent = null; // for a browser that keeps nothing: then only closing the page loses it

function kept() {
  try {
    return localStorage.getItem(pendingKey) ?? unsent;
  } catch {
    return unsent;
  }
}

function keep(rating) {
  unsent = JSON.stringify(rating);
  try {
    localStorage.setItem(pendingKey, unsent);
  } catch {
    // no room, or forbidden: it is sent all the same
  }
  showSaved();
}

function forget() {
  unsent = null;
  try {
    localStorage.removeItem(pendingKey);
  } catch {
    // nothing was kept there either
  }
  showSaved();
}

/** Whether the score that is not answered yet outlives this page. */
function outlives() {
  try {
    return localStorage.getItem(pendingKey) !== null;
  } catch {
    return false;
  }
}

/** Says on the cards what is saved and what is next; again whenever that changes, for a card may be read just then. */
function showSaved() {
  say("pause-text", pauseText());
  const waiting = "Your last score is kept here and sent until it is saved";
  say("small-saved", kept() === null ? "Your ratings are saved" : waiting);
}

function pauseText() {
  if (kept() === null) {
    const next = `${byId("count").textContent} is next. Everything is saved.`;
    return `${next} You can close this page; open the same link on this device to go on.`;
  }
  if (!outlives()) return "Your last score is not saved yet. Leave this page open until it is.";
  const where = "Your last score is kept on this device until it is saved.";
  return `${where} You can close this page; open the same link on this device to send it and go on.`;
}

/** Sets a text where it differs: what is read out is not read out again. */
function say(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

// ---- what is in front

function open(name) {
  card = name;
  if (name !== null) byId("toast").hidden = true;
  for (const section of document.querySelectorAll("#cover .card")) section.hidden = section.id !== `card-${name}`;
  byId("cover").hidden = name === null;
  for (const part of [stage, document.querySelector(".bar"), document.querySelector(".scores")]) part.inert = name !== null;
  if (name !== null) byId(`card-${name}`).focus();
  else document.querySelector(".scores").focus(); // what had the focus is gone with the card: the next Tab is score 1
  refreshControls();
}

/** Says whether a control works now. It stays where the focus is all the same: `disabled` would drop that to the page. */
function works(button, now) {
  button.setAttribute("aria-disabled", String(!now));
}

function refreshControls() {
  const ready = card === null && !busy && shown !== null;
  const anchor = state?.current?.anchor ?? null;
  for (const button of scores) {
    const score = Number(button.dataset.score);
    works(button, ready && (anchor === null || anchor === score));
    button.classList.toggle("wanted", ready && anchor === score);
  }
  works(byId("undo"), ready && state.can_undo);
  works(byId("pause"), card === null);
}

function trouble(detail) {
  byId("offline").hidden = detail === null;
  if (detail !== null) {
    const rest = kept() !== null ? "Your last score is kept here and sent until it is saved." : "Your scores are saved.";
    byId("offline-text").textContent = `${sentence(detail)} ${rest}`;
  }
}

function toast(text) {
  const box = byId("toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => (box.hidden = true), 5000);
}

function stop(error) {
  byId("stopped-text").textContent = sentence(error.message);
  // only his own link helps here; loading the page again could give him the page of the rater who came after him
  byId("stopped-reload").hidden = error.status === 401;
  open("stopped");
}

// ---- the screen

function stageSize() {
  const box = stage.getBoundingClientRect();
  return { width: box.width, height: box.height };
}

function factor() {
  return magnification(largest, stageSize(), window.devicePixelRatio);
}

function zoomed() {
  return (window.visualViewport?.scale ?? 1) > 1.01;
}

function screenReport() {
  return {
    screen_width: screen.width,
    screen_height: screen.height,
    window_width: window.innerWidth,
    window_height: window.innerHeight,
    pixel_ratio: window.devicePixelRatio,
    pinch_zoom: window.visualViewport?.scale ?? 1,
    colour_depth: screen.colorDepth,
    magnification: factor(),
    fits: factor() >= 1,
  };
}

function neededText() {
  const ratio = window.devicePixelRatio;
  const box = stageSize();
  const width = Math.ceil(largest.width / ratio + window.innerWidth - box.width);
  const height = Math.ceil(largest.height / ratio + window.innerHeight - box.height);
  return `The window is ${window.innerWidth} × ${window.innerHeight}; the pictures need ${width} × ${height}.`;
}

function showChecks() {
  const ratio = window.devicePixelRatio;
  const fits = factor() >= 1;
  const lines = [
    fits
      ? [true, `The pictures fit this window (${window.innerWidth} × ${window.innerHeight}).`]
      : [false, `${neededText()} Make the window larger, zoom out with Ctrl and minus, or turn the device.`],
    fits
      ? [true, `One picture pixel covers ${factor()} × ${factor()} screen pixels, so nothing is blurred.`]
      : [false, "Pictures are never shrunk, so they cannot be shown yet."],
  ];
  if (zoomed()) lines.push([false, "The page is magnified with two fingers. Pinch it back to its normal size."]);
  if (screen.colorDepth < 24) lines.push([false, `The screen shows ${screen.colorDepth}-bit colour; 24 bits are needed.`]);
  if (ratio < 1) lines.push([false, "The page is zoomed out; pictures look smaller than usual. Zoom to 100 % if they fit."]);
  byId("checks").replaceChildren(
    ...lines.map(([good, text]) => {
      const item = document.createElement("li");
      item.textContent = text;
      item.classList.toggle("bad", !good);
      return item;
    }),
  );
  byId("start").disabled = !fits || zoomed();
}

function screenChanged() {
  if (card === "welcome") showChecks();
  if (state === null || (card !== null && card !== "small")) return;
  if (factor() < 1 || zoomed()) {
    byId("small-text").textContent = zoomed()
      ? "The page is magnified with two fingers. Pinch it back to its normal size."
      : neededText();
    if (card !== "small") open("small");
  } else {
    if (card === "small") {
      open(null);
      shownAt = performance.now(); // the card hid the picture
      reportScreen();
    }
    if (shown) place(shown.canvas, shown.picture, stage, factor());
  }
}

function reportScreen() {
  return persistently(() => request("/api/screen", screenReport()), () => {}).catch(() => {});
}

function mark(what) {
  request("/api/event", { what }).catch(() => {}); // worth keeping, not worth stopping for
}

// ---- showing

function describe() {
  const calibrating = state.phase === "calibration";
  const done = calibrating ? state.done : state.done - state.calibration;
  const total = calibrating ? state.calibration : state.total - state.calibration;
  const number = Math.min(done + 1, total).toLocaleString("en");
  byId("count").textContent = `${calibrating ? "Calibration" : "Picture"} ${number} of ${total.toLocaleString("en")}`;
  byId("left").textContent = calibrating ? "" : `${Math.round((100 * done) / total)} % done`;
  const bar = byId("progress");
  bar.max = total;
  bar.value = done;
  showSaved();
  return byId("count").textContent;
}

function showAnchor() {
  const anchor = state.current?.anchor ?? null;
  const box = byId("anchor");
  box.hidden = anchor === null;
  if (anchor !== null) {
    const meaning = scores.find((button) => Number(button.dataset.score) === anchor).querySelector("span").textContent;
    box.textContent = `This is a ${anchor}, ${meaning.toLowerCase()}: press ${anchor}`;
  }
}

function loadAhead() {
  const next = state.next;
  if (next && ahead?.url !== next.url) {
    const promise = load(next.url);
    const mine = { url: next.url, promise };
    promise.catch(() => (ahead = ahead === mine ? null : ahead)); // it is loaded again when its turn comes
    ahead = mine;
  }
}

function clearStage() {
  shown?.canvas.remove();
  shown?.picture.close();
  shown = null;
}

async function showCurrent(said = "") {
  const turn = (shownState += 1);
  const url = state.current.url;
  clearStage();
  refreshControls();
  const text = describe();
  showAnchor();
  let first = null;
  let now = null;
  if (ahead?.url === url) {
    first = ahead.promise;
    ahead = null;
  }
  const fresh = await persistently(async () => {
    const wanted = first ?? load(url);
    first = null;
    try {
      return await wanted;
    } catch {
      // It did not come: the state tells a lost connection from a closed access, and from another device that went on.
      now = await request("/api/state");
      return now.current?.url === url ? load(url) : null;
    }
  }, trouble);
  if (turn !== shownState) return;
  if (fresh === null) {
    toast(ELSEWHERE);
    await follow(now);
    return;
  }
  const canvas = document.createElement("canvas");
  const anchor = state.current.anchor;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", anchor === null ? "Picture to rate" : `Example of a picture that is a ${anchor}`);
  canvas.dataset.url = url;
  shown = { picture: fresh, canvas };
  stage.append(canvas);
  place(canvas, fresh, stage, factor());
  shownAt = performance.now();
  byId("status").textContent = `${said} ${text}. ${byId("anchor").hidden ? "" : byId("anchor").textContent}`.trim();
  refreshControls();
  loadAhead();
}

async function follow(next, said = "") {
  const before = state?.phase;
  state = next;
  if (state.phase === "done") {
    describe();
    byId("done-count").textContent = (state.total - state.calibration).toLocaleString("en");
    byId("done-undo").hidden = !state.can_undo;
    clearStage();
    open("done");
    return;
  }
  if (card === "done") {
    open(null);
    screenChanged(); // the window may have changed behind the card
  }
  if (before === "calibration" && state.phase === "rating") open("begin");
  await showCurrent(said);
}

// ---- acting

async function act(task) {
  if (busy) return;
  busy = true;
  refreshControls();
  try {
    await task();
  } catch (error) {
    await recover(error);
  } finally {
    busy = false;
    refreshControls();
  }
}

async function recover(error) {
  if (!(error instanceof Refused)) throw error;
  if (keptOut(error)) {
    stop(error);
    return;
  }
  try {
    // Another tab went on, or an undo came in between: the server knows where we are.
    const now = await persistently(() => request("/api/state"), trouble);
    toast(ELSEWHERE);
    await follow(now);
  } catch (again) {
    if (!(again instanceof Refused)) throw again;
    stop(again);
  }
}

/** Whether the server refused this page, not just what it sent. */
function keptOut(error) {
  return error instanceof Refused && (error.status === 401 || error.status === 403);
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + ".";
}

function rate(score) {
  if (card !== null || busy || shown === null) return;
  const anchor = state.current.anchor;
  if (anchor !== null && anchor !== score) {
    toast(`In the calibration the score is given: press ${anchor}.`);
    return;
  }
  const looked = performance.now() - shownAt;
  if (looked < SHORTEST_LOOK_MS) return;
  const rating = {
    picture: state.current.picture,
    position: state.current.position,
    score,
    nonce: nonce(),
    response_ms: Math.round(looked),
    magnification: factor(),
  };
  act(async () => {
    const button = scores.find((candidate) => Number(candidate.dataset.score) === score);
    button.classList.add("chosen");
    keep(rating);
    try {
      const next = await send(rating);
      otherTabs?.postMessage("moved");
      suggestBreak();
      button.classList.remove("chosen");
      await follow(next, `Saved: ${score}.`);
    } finally {
      button.classList.remove("chosen");
    }
  });
}

/**
 * Sends a rating until it is answered. A page that is kept out keeps it for the next time that this rater's page
 * opens: it is the server that then says whether it still counts.
 */
async function send(rating) {
  try {
    const next = await persistently(() => request("/api/rating", rating), trouble);
    forget();
    return next;
  } catch (error) {
    if (!keptOut(error)) forget();
    throw error;
  }
}

function undo() {
  if (busy || !state?.can_undo || (card !== null && card !== "done")) return;
  const taken = state.last_score;
  act(async () => {
    const next = await persistently(() => request("/api/undo", { position: state.done - 1 }), trouble);
    otherTabs?.postMessage("moved");
    await follow(next, `Taken back: ${taken}.`);
    toast(`Your score of ${taken} is taken back. Rate this picture again.`);
  });
}

function suggestBreak() {
  if (Date.now() - ratingSince < BREAK_AFTER_MS) return;
  ratingSince = Date.now();
  toast("25 minutes of rating: a short break keeps the eyes fresh. Press P.");
}

function pauseRating() {
  if (card !== null) return;
  open("pause");
  mark("pause");
}

async function resumeRating() {
  open(null);
  ratingSince = Date.now();
  shownAt = performance.now();
  mark("resume");
  screenChanged();
  await act(async () => follow(await persistently(() => request("/api/state"), trouble)));
}

/** Sends a rating that an earlier page could not get an answer for. */
async function sendPending() {
  const earlier = kept();
  if (earlier === null) return null;
  try {
    return await send(JSON.parse(earlier));
  } catch (error) {
    if (error instanceof SyntaxError) forget();
    else if (!(error instanceof Refused)) throw error;
    return null; // it counted already, its turn is over, or asking for the state will tell what is wrong
  }
}

async function begin() {
  try {
    const first = (await sendPending()) ?? (await persistently(() => request("/api/state"), trouble));
    if (first.phase === "done") {
      await follow(first);
      return;
    }
    state = first;
    describe();
    byId("calibration-note").hidden = state.done >= state.calibration;
    if (state.done > 0) {
      byId("welcome-title").textContent = "Welcome back";
      byId("start").textContent = "Go on";
      byId("start-note").textContent = `${byId("count").textContent} is next.`;
    }
    open("welcome");
    showChecks();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    stop(error);
  }
}

byId("start").addEventListener("click", () => {
  open(null);
  ratingSince = Date.now();
  reportScreen();
  act(async () => follow(await persistently(() => request("/api/state"), trouble)));
});
byId("begin").addEventListener("click", () => {
  open(null);
  shownAt = performance.now();
  screenChanged();
});
byId("resume").addEventListener("click", resumeRating);
byId("pause").addEventListener("click", pauseRating);
byId("undo").addEventListener("click", undo);
byId("done-undo").addEventListener("click", undo);
byId("retry").addEventListener("click", tryNow);
for (const button of scores) button.addEventListener("click", () => rate(Number(button.dataset.score)));

/**
 * What a key means here: a score, "u" or "p", or nothing.
 *
 * First comes what it types. Where that is none of these, its place counts: AZERTY types digits with Shift alone, and
 * other scripts have no U and no P. A Latin letter means itself only: Dvorak's L lies where others have their P.
 */
function meaning(event) {
  const typed = event.key.toLowerCase();
  if (/^[1-5up]$/.test(typed)) return typed;
  if (typed === "backspace") return "u";
  if (/^[0-9]$/.test(typed)) return "";
  const [, digit, letter] = /^(?:(?:Digit|Numpad)([1-5])|Key([UP]))$/.exec(event.code) ?? [];
  if (digit) return digit;
  return letter && !/^[\x20-\x7e]$/.test(typed) ? letter.toLowerCase() : "";
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.getModifierState("AltGraph")) return;
  const wanted = meaning(event);
  if (wanted === "") return;
  event.preventDefault();
  if (wanted === "u") undo();
  else if (wanted === "p") card === "pause" ? resumeRating() : pauseRating();
  else rate(Number(wanted));
});

otherTabs?.addEventListener("message", () => {
  if (state === null || busy || !["done", "pause", null].includes(card)) return;
  if (card === "pause") return; // resuming asks the server anyway
  act(async () => follow(await persistently(() => request("/api/state"), trouble)));
});
window.addEventListener("resize", screenChanged);
window.visualViewport?.addEventListener("resize", screenChanged);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") shownAt = performance.now(); // time away is no time of looking
});
document.addEventListener("contextmenu", (event) => {
  if (event.target instanceof HTMLCanvasElement) event.preventDefault();
});

begin();
