// @ts-check
// Commands and programs to copy.

import { announce, make } from "./dom.js";
import { currentKey } from "./key.js";

/**
 * Text with a button that copies it. Browsers allow this only on https and on loopback; the text can be selected anyway.
 * @param {string} text @param {"code"|"pre"} [tag]
 */
export function copyable(text, tag = "code") {
  const button = make("button", { type: "button", class: "quiet small", "data-keep": `copy ${text}` }, "Copy");
  const shown = make(tag, tag === "pre" ? { tabindex: 0, class: "scroll" } : {}, text);
  button.addEventListener("click", () => copy(text, shown));
  return make(tag === "pre" ? "div" : "span", { class: "copyable" }, shown, " ", button);
}

/** Copy a text; if the browser refuses, select it where it is shown. @param {string} text @param {HTMLElement} shown */
export async function copy(text, shown) {
  try {
    await navigator.clipboard.writeText(text);
    announce("Copied");
  } catch {
    getSelection()?.selectAllChildren(shown);
    announce("The browser does not let the page copy: the text is selected");
  }
}

/** A question as a curl command. @param {[string, any][]} fields of the body of POST /predict */
export function asCurl(fields) {
  const body = JSON.stringify(Object.fromEntries(fields));
  const key = currentKey() === null ? "" : ' -H "authorization: Bearer $UQ4CT_KEY"';
  return `curl -s ${word(address("predict"))}${key} -H 'content-type: application/json' -d ${word(body)}`;
}

/** The same as a Python program. @param {[string, any][]} fields */
export function asPython(fields) {
  const { question, options, ...others } = Object.fromEntries(fields);
  const values = [question, options].map((value) => JSON.stringify(value)).join(", ");
  const named = Object.entries(others).map(([name, value]) => `, ${name}=${JSON.stringify(value)}`);
  const key = currentKey() === null ? "" : ', api_key=os.environ["UQ4CT_KEY"]';
  return [
    ...(key ? ["import os", ""] : []),
    "from uq4ct.client import Client",
    "",
    `with Client(${JSON.stringify(address(""))}${key}) as client:`,
    `    answer = client.predict(${values}${named.join("")})`,
    "    print(answer.option.text, answer.confidence)",
  ].join("\n");
}

/** The absolute address of a path of the API. @param {string} path */
const address = (path) => new URL(path, new URL(".", document.baseURI)).href.replace(/\/$/, "");

/** A word of a shell command. @param {string} text */
const word = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
