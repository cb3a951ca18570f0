// The rows of the list: one per picture, kept in step with it.

import { bytesText, timeText } from "./api.js";

const TEXT = { waiting: "Waiting", cancelled: "Cancelled", expired: "Deleted from the server" };

/** Says in a few words where a picture stands. */
export function stateText(item) {
  const { job, state } = item;
  if (state === "waiting" && item.notice) return `${item.notice}; trying again…`;
  if (state === "sending") return item.sent < 1 ? `Sending, ${Math.round(item.sent * 100)} %` : "Looking at it…";
  if (state === "queued") return job.position ? `In line, ${job.position} before it` : "Next in line";
  if (state === "running") return runningText(job);
  if (state === "done") return doneText(item);
  if (state === "failed") return item.problem?.title || "It failed";
  return TEXT[state];
}

function doneText({ job, setback }) {
  const text = `${job.result.width} × ${job.result.height}, ${bytesText(job.result.bytes)}`;
  return setback ? `${text} (once more ${setback.state})` : text;
}

/** Says how sending a picture once more ended, where that was in vain. */
export function setbackText({ state, problem }) {
  const why = [problem?.title, problem?.detail].filter(Boolean).join(": ");
  const how = state === "failed" ? `failed: ${why}` : "was cancelled";
  return `Once more ${how}. This is the result from before.`;
}

function runningText(job) {
  if (job.progress <= 0) return "Starting…";
  if (job.progress >= 1) return "Saving…";
  const left = job.remaining_s === null ? "" : `, about ${timeText(job.remaining_s)} left`;
  return `${Math.round(job.progress * 100)} %${left}`;
}

export class Rows {
  /**
   * @param {HTMLElement} list where the rows go
   * @param {HTMLTemplateElement} template
   * @param {{choose: Function, remove: Function, again: Function, saved: Function}} actions called with an item
   */
  constructor(list, template, actions) {
    this.list = list;
    this.template = template;
    this.actions = actions;
    this.rows = new Map();
    list.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #make(item) {
    const row = this.template.content.firstElementChild.cloneNode(true);
    const find = (name) => row.querySelector(`.${name}`);
    find("row-name").textContent = item.name;
    find("row-name").title = item.name;
    find("row-select").onclick = () => this.actions.choose(item);
    find("row-remove").onclick = () => this.actions.remove(item);
    find("row-again").onclick = () => this.actions.again(item);
    find("row-again").title = "Once more, with the settings as they are now";
    find("row-again").querySelector(".sr").textContent = `${item.name}: once more with the current settings`;
    find("row-download").querySelector(".sr").textContent = `Download ${item.name}`;
    find("row-download").title = "Download";
    find("row-download").onclick = () => this.actions.saved(item);
    find("row-progress").setAttribute("aria-label", `Progress of ${item.name}`);
    const image = find("thumb").querySelector("img");
    image.onerror = () => {
      image.classList.add("broken");
      this.#showPreview(image, item);
    };
    image.onload = () => image.classList.remove("broken");
    if (item.url) image.src = item.url;
    else image.classList.add("broken"); // after a reload, this page has no copy any more
    this.list.append(row);
    return row;
  }

  /** Brings one row in step with its picture. */
  update(item, selected) {
    let row = this.rows.get(item.key);
    if (!row) {
      row = this.#make(item);
      this.rows.set(item.key, row);
    }
    const find = (name) => row.querySelector(`.${name}`);
    if (row.dataset.state !== item.state) this.#onState(row, item);
    setText(find("row-state"), stateText(item));
    const progress = item.state === "sending" ? item.sent : item.job?.progress || 0;
    if (find("row-progress").value !== progress) find("row-progress").value = progress;
    this.#showPreview(find("thumb").querySelector("img"), item);
    row.classList.toggle("selected", selected);
    find("row-select").setAttribute("aria-current", selected);
  }

  #onState(row, item) {
    row.dataset.state = item.state;
    const find = (name) => row.querySelector(`.${name}`);
    const done = item.state === "done";
    const focused = row.contains(document.activeElement) ? document.activeElement : null;
    find("row-download").hidden = !done;
    if (done) {
      find("row-download").href = item.resultAddress;
      find("row-download").download = item.job.result_name;
    }
    find("row-again").hidden = !(item.final && item.file);
    const verb = item.final ? "Remove" : "Cancel";
    find("row-remove").title = verb;
    find("row-remove").querySelector(".sr").textContent = `${verb} ${item.name}`;
    if (focused?.hidden) find("row-select").focus(); // what was pressed has gone; the place has not
  }

  /**
   * Shows the server's preview where the browser does not show the picture itself (TIFF), once there is one. Asked for too
   * early, it would be refused, and the browser would give that answer to everybody who asks meanwhile.
   */
  #showPreview(image, item) {
    const ready = item.state === "done" || (item.state === "running" && item.job.progress > 0);
    if (!ready || !image.classList.contains("broken")) return;
    if (image.getAttribute("src") === item.previewAddress) return;
    image.classList.remove("broken"); // hidden, it would never be loaded
    image.src = item.previewAddress;
  }

  /** Brings a row into view, and the focus to it if that is in the list. */
  reveal(item) {
    const row = this.rows.get(item.key);
    row.scrollIntoView({ block: "nearest" });
    if (this.list.contains(document.activeElement)) row.querySelector(".row-select").focus();
  }

  /** Returns the button that selects a picture; undefined where there is none. */
  buttonOf(item) {
    return this.rows.get(item?.key)?.querySelector(".row-select");
  }

  /** Drops the rows of pictures that are gone. */
  keep(items) {
    const keys = new Set(items.map((item) => item.key));
    for (const [key, row] of this.rows) {
      if (keys.has(key)) continue;
      if (row.contains(document.activeElement)) this.#focusNear(row);
      row.remove();
      this.rows.delete(key);
    }
  }

  #focusNear(row) {
    const near = row.nextElementSibling || row.previousElementSibling;
    (near?.querySelector(".row-select") || document.querySelector(".queue-head .choose")).focus();
  }

  #onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !event.target.classList.contains("row-select")) return;
    const buttons = [...this.list.querySelectorAll(".row-select")];
    buttons[buttons.indexOf(event.target) + step]?.focus();
    event.preventDefault();
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
