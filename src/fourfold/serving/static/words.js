// What the server's problems are called on this page: its own words are for those who write programs.

const RELOAD = { title: "The page and the server do not understand each other", remedy: "Load the page again." };
const LATER = "It is tried again by itself.";

const WORDS = {
  "invalid-parameter": { title: "These settings do not suit the picture", remedy: "Choose others and send it again." },
  "unknown-model": { title: "The server no longer has this model", remedy: "Choose another one in the settings." },
  "token-needed": { title: "The server asks for its token", remedy: "Sign in again." },
  "empty-upload": { title: "The file is empty", remedy: "Choose another one." },
  "upload-too-large": { remedy: "Save it smaller, or crop it." },
  "unsupported-media": { remedy: "Choose a PNG, JPEG, WebP, TIFF, AVIF or GIF." },
  "picture-too-large": { remedy: "Crop it, shrink it or split it." },
  "too-many-jobs": { title: "Other pictures of yours come first", remedy: LATER },
  "queue-full": { remedy: LATER },
  "storage-full": { remedy: LATER },
  stopping: { remedy: LATER },
  "unknown-job": { title: "The server no longer knows this picture", remedy: "Send it once more." },
  expired: { title: "The result was deleted", remedy: "Results are kept for a while only. Send the picture again." },
  cancelled: { title: "Cancelled", remedy: "Send the picture again." },
  "timed-out": { title: "It took too long and was stopped" },
  "waited-too-long": { title: "It waited too long and was given up", remedy: "Send it again later." },
  "out-of-memory": { title: "It needed too much memory and was stopped" },
  "worker-died": { title: "The server could not finish this picture" },
  "handed-back": { title: "The server stopped before this picture was done", remedy: "Send it once more." },
  "invalid-request": { title: "The picture did not arrive whole", remedy: "Send it once more." },
  "no-result": { title: "There is no result", remedy: "Send the picture again." },
  "not-found": RELOAD,
  "method-not-allowed": RELOAD,
  "wrong-host": RELOAD,
  "cross-site": RELOAD,
  "unsupported-encoding": RELOAD,
  "not-finished": RELOAD,
  "range-not-satisfiable": RELOAD,
  "too-many-streams": RELOAD,
  busy: RELOAD,
};

/** Returns a problem as this page tells it; `later` is the remedy where a picture that is sent is tried again by itself. */
export function inWords(problem, later = LATER) {
  const kind = (problem.type || "").split("/").pop();
  const told = { ...problem, ...WORDS[kind] };
  if (told.remedy === LATER) told.remedy = later;
  // what the decoder called it
  told.detail = problem.detail?.replace(/(damaged or ends too early|cannot be decoded) \(.*\)/s, "$1");
  return told;
}
