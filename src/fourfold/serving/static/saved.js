// Which results were downloaded, remembered like the list of the tab: no other is deleted without a question.

import { recall, remember } from "./tab.js";

export class Saved {
  constructor() {
    this.ids = new Set(recall("saved") || []);
  }

  /** Takes note that results of jobs are being downloaded. */
  add(...jobs) {
    for (const job of jobs) this.ids.add(job.id);
    remember("saved", [...this.ids].slice(-1000));
  }

  /** Returns those of some pictures whose results are nowhere but on the server. */
  missing(items) {
    return items.filter((item) => item.state === "done" && !this.ids.has(item.job.id));
  }
}
