// The sign-in: a dialog that asks for the server's token and stays until it has the right one.

import { ask } from "./api.js";

const $ = (id) => document.getElementById(id);

let needed = false;

/** Asks for the token. */
export function askForToken() {
  needed = true;
  if (!$("sign-in").open) $("sign-in").showModal();
}

/** Calls a function after every sign-in. */
export function onSignIn(goOn) {
  const dialog = $("sign-in");
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  // a browser lets that be prevented once, and closes at the next Escape; there is nothing to go back to
  dialog.addEventListener("close", () => needed && dialog.showModal());
  $("sign-in-form").onsubmit = (event) => {
    event.preventDefault();
    signIn($("token").value.trim(), goOn);
  };
}

async function signIn(token, goOn) {
  if (!/^[!-~]+$/.test(token)) {
    $("sign-in-error").textContent = "That is not the right token."; // no header can carry it, and no server has it
    return;
  }
  try {
    await ask("v1/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
    needed = false;
    $("token").value = $("sign-in-error").textContent = "";
    $("sign-in").close();
    await goOn();
  } catch (problem) {
    $("sign-in-error").textContent =
      problem.kind === "token-needed" ? "That is not the right token." : problem.message;
  }
}
