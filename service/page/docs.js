// @ts-check
// Shows the OpenAPI document: every operation with its parameters, body and responses, and every schema.

import { get } from "./api.js";
import { byId, make } from "./dom.js";
import { currentKey, setUpKey } from "./key.js";
import { orShowProblem } from "./problem.js";

/** @typedef {Record<string, any>} Json the parts of the document, whose form the OpenAPI specification describes */

const REFERENCE = /^#\/components\/schemas\/(\w+)$/;
const LIMITS = ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "default"];

setUpKey(load);
addEventListener("hashchange", openTarget);
await load();

async function load() {
  /** @type {Json|null} */
  const document = await orShowProblem(byId("operations-body"), () => get("openapi.json"));
  window.document.body.classList.remove("loading");
  if (document === null) {
    byId("schemas-body").replaceChildren(make("p", { class: "empty" }, "Not loaded: the reason is above."));
    return;
  }
  byId("docs-title").textContent = `${document.info.title}, API version ${document.info.version}`;
  byId("operations-body").replaceChildren(...operationsOf(document).map(showOperation));
  const sorted = Object.entries(document.components.schemas).sort(([a], [b]) => a.localeCompare(b));
  byId("schemas-body").replaceChildren(...sorted.map(([name, schema]) => showSchema(name, schema)));
  if (currentKey() !== null) linkCopy(document);
  openTarget();
}

/** Make the header's link show this copy: a browser that follows a link sends no key. @param {Json} document */
function linkCopy(document) {
  const copy = new Blob([JSON.stringify(document, null, 2)], { type: "application/json" });
  byId("docs-document", HTMLAnchorElement).href = URL.createObjectURL(copy);
}

/** Open the folded part that the address names, such as #schema-Problem. */
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

/** @param {Json} document @returns {Json[]} */
function operationsOf(document) {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })),
  );
}

/** @param {Json} operation */
function showOperation(operation) {
  const body = operation.requestBody?.content["application/json"];
  const [first, ...others] = (operation.description ?? operation.summary).split("\n\n");
  return make(
    "details",
    { class: "operation" },
    make("summary", {}, make("code", {}, `${operation.method.toUpperCase()} ${operation.path}`), ` ${first}`),
    ...others.map((/** @type {string} */ text) => make("p", {}, text)),
    operation.security.length ? make("p", { class: "hint" }, "Needs a key, if the service has any.") : null,
    operation.parameters ? table("Parameters", ["name", "in", "type", "meaning"], operation.parameters.map(showParameter)) : null,
    body ? make("p", {}, "Body: ", ...typeOf(body.schema), ", such as") : null,
    body ? showExample(body.example) : null,
    table("Responses", ["status", "type", "meaning"], Object.entries(operation.responses).map(showResponse)),
    ...Object.entries(operation.responses).flatMap(showExamplesOf),
  );
}

/** @param {Json} parameter */
function showParameter({ name, in: place, required, schema, description }) {
  return [[name, required ? " (required)" : ""], [place], typeOf(schema), [description ?? ""]];
}

/** @param {[string, Json]} entry */
function showResponse([status, response]) {
  const types = Object.entries(response.content ?? {}).flatMap(([media, { schema }]) => [...typeOf(schema), ` as ${media}`]);
  return [[status], types, [response.description]];
}

/** The examples of a response, folded. @param {[string, Json]} entry */
function showExamplesOf([status, response]) {
  return Object.values(response.content ?? {}).map(({ example, examples }) => {
    const values = example === undefined ? Object.values(examples).map(({ value }) => value) : [example];
    return make("details", {}, make("summary", {}, `Example of ${status}`), ...values.map(showExample));
  });
}

/** @param {unknown} value */
function showExample(value) {
  return make("pre", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

/** @param {string} name @param {Json} schema */
function showSchema(name, schema) {
  const properties = Object.entries(schema.properties ?? {});
  const required = new Set(schema.required ?? []);
  const rows = properties.map(([field, part]) => [
    [field, required.has(field) ? " (required)" : ""],
    typeOf(part),
    [part.description ?? ""],
  ]);
  return make(
    "details",
    { class: "schema", id: `schema-${name}` },
    make("summary", {}, make("code", {}, name)),
    schema.description ? make("p", {}, schema.description) : null,
    rows.length ? table("Fields", ["name", "type", "meaning"], rows) : make("p", {}, ...typeOf(schema)),
  );
}

/** Texts and links that describe the values a schema allows. @param {Json} schema @returns {(Node|string)[]} */
function typeOf(schema) {
  const name = REFERENCE.exec(schema.$ref ?? "")?.[1];
  if (name) return [make("a", { href: `#schema-${name}` }, name)];
  const choices = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (choices) return choices.flatMap((/** @type {Json} */ choice, /** @type {number} */ index) => [...(index ? [" or "] : []), ...typeOf(choice)]);
  if ("const" in schema) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((/** @type {unknown} */ value) => JSON.stringify(value)).join(", ")];
  const limits = LIMITS.filter((limit) => limit in schema).map((limit) => `${limit} ${JSON.stringify(schema[limit])}`);
  const suffix = limits.length ? ` (${limits.join(", ")})` : "";
  return schema.items ? [`list${suffix} of `, ...typeOf(schema.items)] : [(schema.type ?? "any value") + suffix];
}

/** @param {string} caption @param {string[]} columns @param {(Node|string)[][][]} rows */
function table(caption, columns, rows) {
  const head = make("tr", {}, ...columns.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map(([first, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, ...first), ...cells.map((cell) => make("td", {}, ...cell))),
  );
  return make(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
    make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body)),
  );
}
