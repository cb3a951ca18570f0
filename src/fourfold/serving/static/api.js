// Talking to the server. All addresses are relative, so the page works under any path of a reverse proxy.

import { inWords } from "./words.js";

/** An answer that is a problem (RFC 9457), or no answer at all. */
export class Problem extends Error {
  constructor(problem, retryAfter = 0) {
    const body = inWords(problem);
    super(body.detail ? `${body.title}: ${body.detail}` : body.title);
    this.body = body;
    this.retryAfter = retryAfter;
  }

  /** The last part of the type, such as "queue-full". */
  get kind() {
    return (this.body.type || "").split("/").pop();
  }
}

export const NO_CONNECTION = {
  type: "no-connection",
  title: "The server does not answer",
  remedy: "Check the connection; it is tried again by itself.",
};

/** Returns the parsed answer of the server, or throws a Problem. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Problem(NO_CONNECTION);
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer.status === 204 ? null : answer.json();
}

async function problemOf(answer) {
  const retryAfter = Number(answer.headers.get("Retry-After")) || 0;
  try {
    return new Problem(await answer.json(), retryAfter);
  } catch {
    return new Problem(unexplained(answer.status), retryAfter);
  }
}

/** Returns the problem of an answer that says nothing but its status; 502 and 503 are a proxy's without its server. */
function unexplained(status) {
  if ([502, 503].includes(status)) return NO_CONNECTION;
  return { title: `The server answered ${status}`, remedy: "Try again later." };
}

/**
 * Sends a picture and returns its job. To abort ends what is under way; of a picture that has been sent whole, the
 * server may have made a job already, so its answer is waited for, and whoever aborted deletes that job.
 * @param {Blob} file the picture
 * @param {Object<string, string>} options model, fidelity, ensemble, format, name, batch
 * @param {(fraction: number) => void} onProgress called while it is sent
 * @returns {{job: Promise<object>, abort: () => void}}
 */
export function send(file, options, onProgress) {
  const request = new XMLHttpRequest();
  let whole = false;
  request.upload.onload = () => (whole = true);
  const job = new Promise((resolve, reject) => {
    request.open("POST", `v1/jobs?${new URLSearchParams(options)}`);
    request.responseType = "json";
    request.setRequestHeader("Content-Type", file.type.startsWith("image/") ? file.type : "application/octet-stream");
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      if (request.status === 202) return resolve(request.response);
      const body = request.response || unexplained(request.status);
      reject(new Problem(body, Number(request.getResponseHeader("Retry-After")) || 0));
    };
    request.onerror = () => reject(new Problem(NO_CONNECTION));
    request.onabort = () => reject(new Problem({ type: "cancelled", title: "Cancelled" }));
    request.send(file);
  });
  return { job, abort: () => whole || request.abort() };
}

/** Returns a number of bytes for people. */
export function bytesText(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

/** Returns a limit in bytes for people, in the powers of 1024 that limits are set in. */
export function limitText(bytes) {
  const mebi = bytes / 1048576;
  return mebi < 1 ? `${Math.floor(bytes / 1024)} kB` : `${Number(mebi.toFixed(1))} MB`;
}

/** Returns a number of seconds for people. */
export function timeText(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  const hours = seconds / 3600;
  if (hours === 1) return "an hour";
  return `${Number.isInteger(hours) ? hours : hours.toFixed(1)} h`;
}
