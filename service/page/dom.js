// @ts-check
// Build elements from data. Text stays text: a child that is not a node becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Record<string, string|number|boolean|null>} Attributes */
/** @typedef {Node|string|null} Child */

/**
 * Create an HTML element; attributes that are null or false and children that are null are left out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * Create an SVG element in the same way.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * The element of index.html with this id.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @param {new (...args: any[]) => T} [kind]
 * @returns {T}
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof (kind ?? HTMLElement))) throw new TypeError(`#${id} is missing or has the wrong type`);
  return /** @type {T} */ (found);
}

/**
 * Create a table with headings for columns and rows.
 * @param {string} caption
 * @param {string[]} columns
 * @param {[string, ...string[]][]} rows
 */
export function table(caption, columns, rows) {
  const head = make("tr", {}, ...columns.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map(([name, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((text) => make("td", {}, text))),
  );
  return make(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": caption, "data-keep": caption },
    make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body)),
  );
}

/**
 * Create a list of terms with their values.
 * @param {[string, Child, (string|null)?][]} entries term, value, and a sentence that explains it
 */
export function facts(entries) {
  return make(
    "dl",
    { class: "facts" },
    ...entries.map(([term, value, note]) =>
      make("div", {}, make("dt", {}, term), make("dd", {}, value), note ? make("dd", { class: "hint" }, note) : null),
    ),
  );
}

/**
 * Replace the children of a box that is shown again with newer data: what was open stays open, and an element with the
 * same `data-keep` gets the focus back.
 * @param {HTMLElement} box
 * @param {...Child} children
 */
export function renew(box, ...children) {
  const opened = [...box.querySelectorAll("details[open]")].map(keepOf);
  const focused = box.contains(document.activeElement) ? keepOf(document.activeElement) : null;
  box.replaceChildren(...children.filter((child) => child !== null));
  for (const one of box.querySelectorAll("[data-keep]")) {
    if (one instanceof HTMLDetailsElement && opened.includes(keepOf(one))) one.open = true;
    if (one instanceof HTMLElement && keepOf(one) === focused) one.focus();
  }
}

/** @param {Element|null} element */
const keepOf = (element) => element?.getAttribute("data-keep") ?? null;

/** Announce a message to screen readers. @param {string} text */
export function announce(text) {
  byId("announcer").textContent = text;
}

/**
 * @template {Element} T
 * @param {T} node
 * @param {Attributes} attributes
 * @param {Child[]} children
 */
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
