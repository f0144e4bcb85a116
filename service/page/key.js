// @ts-check
// The key: kept for this tab only, and asked for when the API wants one.

import { byId } from "./dom.js";

const NAME = "uq4ct-key";
const VISIBLE_ASCII = /^[\x21-\x7e]+$/; // what a header can carry

/** @type {Promise<boolean>|null} */
let asking = null;

/** The key, or null. */
export const currentKey = () => sessionStorage.getItem(NAME);

/**
 * Ask for a key; requests that fail together ask once.
 * @param {string} reason why it is needed
 * @returns {Promise<boolean>} whether one was given
 */
export function askForKey(reason) {
  asking ??= openDialog(reason).finally(() => {
    asking = null;
  });
  return asking;
}

/** Let the buttons of the header work. @param {() => void} onKey called after a key was given by them */
export function setUpKey(onKey) {
  byId("key-give").addEventListener("click", async () => {
    if (await askForKey("It is sent with every request from now on.")) onKey();
  });
  byId("key-forget").addEventListener("click", () => {
    sessionStorage.removeItem(NAME);
    location.reload(); // what the key let in leaves the page with it
  });
  showState();
}

/** @param {string} reason */
function openDialog(reason) {
  const dialog = byId("key-dialog", HTMLDialogElement);
  const form = byId("key-form", HTMLFormElement);
  const input = byId("key-text", HTMLInputElement);
  byId("key-reason").textContent = reason;
  byId("key-error").textContent = "";
  input.value = "";
  dialog.showModal();
  input.focus();
  return new Promise((/** @type {(given: boolean) => void} */ resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      if (keep(input.value.trim())) dialog.close("given");
    };
    byId("key-cancel").onclick = () => dialog.close("cancelled");
    dialog.oncancel = () => dialog.close("cancelled");
    dialog.onclose = () => {
      input.value = "";
      resolve(dialog.returnValue === "given");
    };
  });
}

/** @param {string} key */
function keep(key) {
  if (!VISIBLE_ASCII.test(key)) {
    byId("key-error").textContent = key ? "A key has no spaces and only ASCII characters." : "The key is empty.";
    return false;
  }
  sessionStorage.setItem(NAME, key);
  showState();
  return true;
}

function showState() {
  const held = currentKey() !== null;
  byId("key-state").textContent = held ? "A key is in use" : "";
  byId("key-give").hidden = held;
  byId("key-forget").hidden = !held;
}
