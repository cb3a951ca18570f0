// Talks to the server. A request that gets no answer is sent again until it gets one; the server counts a rating
// once, however often it arrives, because every rating carries a nonce.

export class Refused extends Error {
  /** What is not final may be a proxy's word while the study is away, and is asked again. */
  constructor(status, detail, final) {
    super(detail);
    this.status = status;
    this.final = final;
  }
}

/** Statuses below 500 that say "later": sent too slowly, sent too often. */
const LATER = [408, 429];

const waiting = { wake: null };

/** Wakes a request that waits for its next try. */
export function tryNow() {
  if (waiting.wake) waiting.wake();
}
window.addEventListener("online", tryNow);

/** Sends until answered; onTrouble(detail) is called at every failure and onTrouble(null) when it is over. */
export async function persistently(send, onTrouble) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const result = await send();
      onTrouble(null);
      return result;
    } catch (error) {
      if (error instanceof Refused && error.final) {
        onTrouble(null);
        throw error;
      }
      onTrouble(error instanceof Refused ? error.message : "The connection is lost");
      await pause(Math.min(500 * 2 ** attempt, 8000));
    }
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    waiting.wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}

export async function request(path, body) {
  const options = { cache: "no-store", signal: AbortSignal.timeout(15000), headers: {} };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  return (await answered(path, options)).json();
}

/** Fetches a file; a slow connection has a minute for it. */
export async function file(path) {
  return (await answered(path, { signal: AbortSignal.timeout(60000), headers: {} })).blob();
}

async function answered(path, options) {
  // A browser has one cookie for all its tabs: the server must not take this page's rater for whoever came last.
  const rater = document.body.dataset.rater;
  if (rater !== undefined) options.headers["x-fourfold-rater"] = rater;
  const response = await fetch(path, options);
  if (response.ok) return response;
  const own = (response.headers.get("content-type") ?? "").startsWith("application/problem+json");
  let detail = `The server answered ${response.status}`;
  try {
    detail = (await response.json()).detail || detail;
  } catch {
    // not one of our answers; the number has to do
  }
  throw new Refused(response.status, detail, own && response.status < 500 && !LATER.includes(response.status));
}

export function nonce() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
