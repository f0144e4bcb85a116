// @ts-check
// The API key: kept in this tab only, and requested when the API requires one.

import { byId } from "./dom.js";

const NAME = "uq4ct-key";
const VISIBLE_ASCII = /^[\x21-\x7e]+$/; // the characters that a header can carry

/** @type {Promise<boolean>|null} */
let asking = null;

/** The key, or null. */
export const currentKey = () => sessionStorage.getItem(NAME);

/**
 * Ask for a key; requests that fail at the same time share one dialog.
 * @param {string} reason why it is needed
 * @returns {Promise<boolean>} whether a key was entered
 */
export function askForKey(reason) {
  asking ??= openDialog(reason).finally(() => {
    asking = null;
  });
  return asking;
}

/** Set up the buttons in the header. @param {() => void} onKey called after a key was entered with them */
export function setUpKey(onKey) {
  byId("key-give").addEventListener("click", async () => {
    if (await askForKey("The page will send the key with every request.")) onKey();
  });
  byId("key-forget").addEventListener("click", () => {
    sessionStorage.removeItem(NAME);
    location.reload(); // also removes the data that the key gave access to
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
    byId("key-error").textContent = key ? "A key contains only ASCII characters and no spaces." : "The key is empty.";
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
