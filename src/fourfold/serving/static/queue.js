// The list of pictures: sending them in turn, following them by server-sent events, cancelling, forgetting.

import { ask, limitText, Problem, send } from "./api.js";
import { recall, remember } from "./tab.js";
import { inWords } from "./words.js";

/** One after the other, so that they are served in the order of the list. */
const SENDING_AT_ONCE = 1;
const FINAL = ["done", "failed", "cancelled", "expired"];
/** Kinds of problem after which the same picture is simply sent again later. */
const TRY_LATER = ["queue-full", "too-many-jobs", "storage-full", "stopping", "no-connection"];

/**
 * One picture in the list.
 * @property state waiting | sending | queued | running | done | failed | cancelled | expired
 */
export class Item {
  constructor({ file = null, name, options = {} }) {
    this.key = crypto.getRandomValues(new Uint32Array(2)).join("-");
    this.file = file;
    this.name = name;
    this.options = options;
    this.url = file ? URL.createObjectURL(file) : null;
    this.state = "waiting";
    this.sent = 0;
    this.job = null;
    this.problem = null;
    this.earlier = null; // the finished job in whose place it is sent once more
    this.setback = null; // how that ended, if in vain: a state and a problem
    this.notice = "";
    this.cancelling = false; // the server is being asked to cancel it
    this.kept = null; // what its job has come to meanwhile: the answer says whether that lasts
    this.attempt = null; // the sending under way; what an earlier one still answers is not for this item any more
  }

  get final() {
    return FINAL.includes(this.state);
  }

  /** Address of the server's copy of the picture as it came, which every browser can show. */
  get previewAddress() {
    return this.job ? `v1/jobs/${this.job.id}/preview?of=source` : null;
  }

  get resultAddress() {
    return `v1/jobs/${this.job.id}/result`;
  }
}

export class Queue extends EventTarget {
  constructor(batch) {
    super();
    this.batch = batch;
    this.items = [];
    this.limits = null;
    this.pausedUntil = 0;
    this.timer = 0;
    this.events = null;
    this.retry = 0;
    this.misses = 0;
    this.early = new Map(); // what was told of a job before the answer to its submission came
    this.unwanted = []; // ids of jobs that the server is still to delete
    this.discarded = new Set(); // ids of all jobs that this list has given up; what is still told of them is not for it
    this.later = 0;
    this.replacing = new Map(recall("replacing") || []); // ids of jobs sent once more, with those of the jobs before
    this.brokenOff = new Set(); // names of pictures whose sending was ended, perhaps when the server had all of them
  }

  /** Takes up the jobs that an earlier look of this page submitted, and follows the batch from now on. */
  async open() {
    const all = await ask(`v1/batches/${this.batch}`);
    const jobs = all.filter(({ id, state }) => !["expired", "cancelled"].includes(state) && !this.discarded.has(id));
    const before = (job) => jobs.find((one) => one.id === this.replacing.get(job.id)) || null;
    const earlier = [...jobs.map(before), ...this.items.map((item) => item.earlier)].map((job) => job?.id);
    for (const job of jobs) {
      if (earlier.includes(job.id)) continue;
      let item = this.items.find((one) => one.job?.id === job.id); // submitted before the page had its answer
      if (!item) {
        this.items.push((item = new Item({ name: job.name })));
        item.earlier = before(job); // the reload came while it was sent once more
      }
      this.#take(item, job);
    }
    this.#changed(null);
    this.resume(); // pictures may have been added before anybody signed in
  }

  /** Gives its stream up while nobody looks and nothing is under way: a browser allows six connections to a host. */
  rest() {
    if (!this.items.every((item) => item.final)) return;
    clearTimeout(this.retry);
    this.events?.close();
    this.events = null;
  }

  /** Follows again after a rest, in which the server may have been restarted. */
  wake() {
    if (this.events) return;
    this.misses ||= 1;
    this.follow();
  }

  follow() {
    clearTimeout(this.retry);
    this.events?.close();
    this.events = new EventSource(`v1/batches/${this.batch}/events`);
    this.events.addEventListener("job", (event) => this.#told(JSON.parse(event.data)));
    this.events.onopen = () => {
      if (this.misses) this.#afterBreak();
      this.misses = 0;
      this.#connection(true);
    };
    this.events.onerror = () => {
      this.misses += 1;
      // a browser gives up for good after an answer that is no stream, and does not say which
      if (this.events.readyState === EventSource.CLOSED) this.#withoutStream();
      else if (this.misses > 1) this.#connection(false);
    };
  }

  /** Asks once what a stream would have told (429: there are too many), or why there is none, and tries again. */
  async #withoutStream() {
    const items = this.items.filter((item) => item.job);
    try {
      const jobs = await ask(`v1/batches/${this.batch}`);
      for (const job of jobs) this.#told(job);
      this.#missing(items, jobs);
      this.#deleteUnwanted();
      this.#connection(true);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.kind === "token-needed") return this.#askForToken(); // goes on by resume()
      this.#connection(false);
    }
    clearTimeout(this.retry);
    if (this.events) this.retry = setTimeout(() => this.follow(), 3000); // else it went to rest meanwhile
  }

  /** Takes what is told of a job, which may be one whose submission has not been answered yet. */
  #told(job) {
    if (this.discarded.has(job.id)) return;
    const item = this.items.find((one) => one.job?.id === job.id);
    const replacing = this.items.find((one) => one.earlier?.id === job.id);
    if (item) this.#take(item, job);
    else if (replacing) {
      replacing.earlier = job; // it may expire meanwhile
      this.#changed(replacing);
    }
    else if (this.#isLeft(job)) {
      this.early.delete(job.id);
      this.#discard(job);
    } else if (job.state !== "expired" && this.early.size < 200) this.early.set(job.id, job);
  }

  /** Tells whether a job is one that the server made of a picture just when its sending was ended here. */
  #isLeft({ name, state }) {
    if (!this.brokenOff.has(name) || ["cancelled", "expired"].includes(state)) return false;
    return !this.items.some((item) => item.state === "sending" && item.name.slice(-200) === name); // that one's, it may be
  }

  #askForToken() {
    this.pausedUntil = Infinity;
    this.dispatchEvent(new CustomEvent("token"));
  }

  async #afterBreak() {
    this.#deleteUnwanted();
    const items = this.items.filter((item) => item.job);
    const jobs = await ask(`v1/batches/${this.batch}`).catch(() => null);
    if (jobs) this.#missing(items, jobs);
  }

  /** A server that was restarted without a state folder knows nothing of its jobs any more. */
  #missing(items, jobs) {
    const known = new Set(jobs.map((job) => job.id));
    for (const item of this.items) {
      if (!item.earlier || known.has(item.earlier.id)) continue;
      item.earlier = null;
      this.#changed(item);
    }
    for (const item of items) {
      if (!item.job || known.has(item.job.id)) continue;
      if (item.state === "done") this.#take(item, { ...item.job, state: "expired" });
      else if (!item.final) this.#fail(item, { title: "The server was restarted", remedy: "Send the picture again." });
    }
  }

  #connection(good) {
    this.dispatchEvent(new CustomEvent("connection", { detail: good }));
  }

  #changed(item) {
    this.dispatchEvent(new CustomEvent("change", { detail: item }));
  }

  /** Takes what the server says about a job; an answer may be older than the event that came before it. */
  #take(item, job) {
    const before = item.state;
    const through = item.final && (!FINAL.includes(job.state) || before === "expired");
    if (through && item.job?.id === job.id) return;
    if (item.cancelling && ["done", "expired"].includes(job.state)) {
      item.kept = job; // the cancel may still delete it
      return;
    }
    item.job = job;
    item.state = job.state;
    item.problem = job.problem && inWords(job.problem, "Send it once more later.");
    if (item.final && before !== item.state) this.#end(item);
    else this.#changed(item);
  }

  /** Ends one way of a picture. What was sent once more in vain goes back to the result that it had before. */
  #end(item) {
    const { earlier, job, state, problem } = item;
    item.earlier = item.setback = null;
    if (state === "done") this.#discard(earlier);
    else if (earlier?.state === "done") {
      Object.assign(item, { job: earlier, state: "done", problem: null, setback: { state, problem } });
      this.#discard(job);
    }
    this.dispatchEvent(new CustomEvent("finished", { detail: item }));
    this.#changed(item);
    queueMicrotask(() => this.#sendNext());
  }

  /** Adds files; what the limits rule out fails at once, without being sent. */
  add(files, options) {
    const added = [...files].map((file) => new Item({ file, name: file.name || "pasted.png", options }));
    for (const item of added) {
      this.items.push(item);
      const most = this.limits?.upload_bytes;
      if (item.file.size === 0) this.#fail(item, { title: "The file is empty", remedy: "Choose another one." });
      else if (most && item.file.size > most) this.#fail(item, tooLarge(item.file.size, most));
      this.#changed(item);
    }
    this.#sendNext();
    return added;
  }

  #fail(item, problem) {
    item.state = "failed";
    item.problem = problem;
    this.#end(item);
  }

  /** Ends a picture here; what the server has made of it goes as soon as the server can be asked. */
  #giveUp(item) {
    const { job } = item;
    item.state = "cancelled";
    item.job = null;
    this.#end(item);
    this.#discard(job);
  }

  #sendNext() {
    clearTimeout(this.timer);
    const wait = this.pausedUntil - Date.now();
    if (wait > 0) {
      // resume() ends a pause without end, which setTimeout would take for none
      if (Number.isFinite(wait)) this.timer = setTimeout(() => this.#sendNext(), wait);
      return;
    }
    this.#deleteUnwanted();
    const sending = this.items.filter((item) => item.state === "sending").length;
    const active = this.items.filter((item) => ["sending", "queued", "running"].includes(item.state)).length;
    const free = Math.min(SENDING_AT_ONCE - sending, (this.limits?.jobs_per_client ?? 4) - active);
    const next = this.items.filter((item) => item.state === "waiting").slice(0, Math.max(0, free));
    for (const item of next) this.#send(item);
  }

  async #send(item) {
    item.state = "sending";
    item.sent = 0;
    item.notice = "";
    const options = { ...item.options, name: item.name.slice(-200), batch: this.batch };
    const sending = send(item.file, options, (fraction) => {
      item.sent = fraction;
      this.#changed(item);
    });
    const attempt = (item.attempt = { abort: sending.abort });
    this.#changed(item);
    try {
      const job = await sending.job;
      const latest = this.early.get(job.id) || job;
      this.early.delete(job.id);
      if (item.attempt === attempt) {
        this.items = this.items.filter((one) => one === item || one.job?.id !== job.id); // open() may have met it
        if (item.earlier) this.#remember(job, item.earlier);
        this.#take(item, latest);
      } else this.#discard(job); // cancelled at the last moment
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.kind === "cancelled") this.brokenOff.add(options.name);
      const failed = problem.kind === "no-connection" ? await whyUnreadable(item.file) : null;
      if (item.attempt === attempt) this.#notSent(item, problem, failed);
    } finally {
      if (item.attempt === attempt) item.attempt = null;
      if (this.brokenOff.size) for (const job of [...this.early.values()]) this.#told(job);
      this.#sendNext();
    }
  }

  /** Remembers for a reload which result a job is to replace once it is done. */
  #remember(job, earlier) {
    this.replacing.set(job.id, earlier.id);
    remember("replacing", [...this.replacing].slice(-200));
  }

  #notSent(item, problem, unreadable) {
    if (unreadable) {
      this.#fail(item, unreadable);
    } else if (problem.kind === "token-needed") {
      item.state = "waiting";
      this.#askForToken();
    } else if (TRY_LATER.includes(problem.kind)) {
      item.state = "waiting";
      item.notice = problem.body.title;
      // a pause until somebody signs in is not made shorter
      this.pausedUntil = Math.max(this.pausedUntil, Date.now() + 1000 * Math.max(2, problem.retryAfter));
    } else {
      this.#fail(item, problem.body);
    }
    this.#changed(item);
  }

  /** Goes on after the start, or after a sign-in. */
  resume() {
    this.pausedUntil = 0;
    this.follow();
    this.#sendNext();
  }

  /** Stops a picture that is under way. */
  async cancel(item) {
    const { state, job } = item;
    if (item.final) return;
    if (state === "waiting" || state === "sending") {
      item.attempt?.abort();
      item.attempt = null;
      this.#giveUp(item);
    } else if (job) {
      if (item.cancelling) return;
      item.cancelling = true;
      try {
        const answer = await ask(`v1/jobs/${job.id}`, { method: "DELETE" });
        const kept = this.#cancelled(item);
        if (item.job?.id !== job.id) return; // it was sent once more meanwhile
        // a job that was done just then has been deleted by that
        if (answer.state === "expired") this.#take(item, { ...answer, state: "cancelled", problem: null });
        else this.#take(item, FINAL.includes(answer.state) ? answer : kept || answer);
      } catch (problem) {
        const kept = this.#cancelled(item);
        if (!["unknown-job", "no-connection", "token-needed"].includes(problem.kind)) throw problem;
        if (item.job?.id !== job.id || item.final) return;
        if (kept) this.#take(item, kept);
        else if (problem.kind === "unknown-job") this.#fail(item, problem.body);
        else this.#giveUp(item);
      }
    }
  }

  /** Ends the wait for the answer to a cancel; returns what the job has come to meanwhile, if it has. */
  #cancelled(item) {
    const { kept } = item;
    item.cancelling = false;
    item.kept = null;
    return kept;
  }

  /** Takes a picture out of the list, and its results off the server. */
  async remove(item) {
    if (!item.final) await this.cancel(item);
    this.items = this.items.filter((one) => one !== item);
    if (item.url) URL.revokeObjectURL(item.url);
    this.#changed(item);
    this.#discard(item.job);
    this.#discard(item.earlier);
  }

  /** Sends a picture once more, with other options, in place of what became of it before, once that is done. */
  again(item, options) {
    const before = item.job;
    if (item.state === "done") item.earlier = before;
    else this.#discard(before);
    item.options = options;
    item.state = "waiting";
    item.job = item.problem = item.setback = null;
    this.#changed(item);
    this.#sendNext();
  }

  /** Has a job deleted that is in the list no more, lest it come back with a reload or in the ZIP. */
  #discard(job) {
    if (!job) return;
    this.discarded.add(job.id);
    this.unwanted.push(job.id);
    this.#deleteUnwanted();
  }

  /** What the server cannot be asked to delete now waits for the connection, the sign-in or the next picture. */
  async #deleteUnwanted() {
    let away = false;
    for (const id of this.unwanted.splice(0)) {
      await ask(`v1/jobs/${id}`, { method: "DELETE" }).catch((problem) => {
        if (problem.kind !== "unknown-job") this.unwanted.push(id);
        if (problem.kind === "token-needed") this.#askForToken();
        away ||= problem.kind === "no-connection";
      });
    }
    clearTimeout(this.later);
    if (away) this.later = setTimeout(() => this.#deleteUnwanted(), 3000);
  }
}

/** Returns what is wrong with a file that was moved or changed while it waited; null where it can be read. */
async function whyUnreadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return null;
  } catch {
    return { title: "The file cannot be read any more", remedy: "Choose it again." };
  }
}

function tooLarge(size, most) {
  return {
    title: "The file is too large",
    detail: `It has ${limitText(size)}; this server takes up to ${limitText(most)}.`,
    remedy: "Save it smaller, or crop it.",
  };
}

