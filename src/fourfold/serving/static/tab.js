// What this tab remembers over a reload, as long as it is open.

/** Returns what was remembered under a key; null where nothing was, or where this window has no storage. */
export function recall(key) {
  try {
    return JSON.parse(sessionStorage.getItem(`fourfold-${key}`));
  } catch {
    return null;
  }
}

/** Remembers a value that JSON can spell; without storage, a reload starts anew. */
export function remember(key, value) {
  try {
    sessionStorage.setItem(`fourfold-${key}`, JSON.stringify(value));
  } catch {
    // as above
  }
}
