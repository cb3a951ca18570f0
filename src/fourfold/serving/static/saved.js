// Which results were downloaded, remembered like the list of the tab: no other is deleted without a question.

const KEY = "fourfold-saved";

export class Saved {
  constructor() {
    this.ids = new Set();
    try {
      this.ids = new Set(JSON.parse(sessionStorage.getItem(KEY)) || []);
    } catch {
      // no storage in this window: after a reload it is asked once more than needed
    }
  }

  /** Takes note that results of jobs are being downloaded. */
  add(...jobs) {
    for (const job of jobs) this.ids.add(job.id);
    try {
      sessionStorage.setItem(KEY, JSON.stringify([...this.ids].slice(-1000)));
    } catch {
      // as above
    }
  }

  /** Returns those of some pictures whose results are nowhere but on the server. */
  missing(items) {
    return items.filter((item) => item.state === "done" && !this.ids.has(item.job.id));
  }
}
