// What the page says and asks: at its top, to screen readers, in a dialog.

const $ = (id) => document.getElementById(id);

let noticeTimer = 0;

/** Shows a message at the top of the page. */
export function notify(text) {
  $("notice-text").textContent = text;
  $("notice").hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => ($("notice").hidden = true), 10000);
}
$("notice-close").onclick = () => ($("notice").hidden = true);

/** Has a text read out by screen readers, after what was said before it. */
export function announce(text) {
  const line = Object.assign(document.createElement("p"), { textContent: text });
  $("announcer").append(line);
  setTimeout(() => line.remove(), 10000);
}

/** Asks whether results that nobody has downloaded may be deleted; returns the answer. */
export function mayDelete(items) {
  const [{ name }] = items;
  $("delete-text").textContent =
    items.length === 1
      ? `The result of “${name}” has not been downloaded. It will be deleted from the server.`
      : `${items.length} results have not been downloaded. They will be deleted from the server.`;
  const dialog = $("delete");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => answer(dialog.returnValue === "delete"), { once: true });
  });
}
