// @ts-check
// The stored predictions: filters, pages, and a CSV file of everything that the filters select.

import { get } from "./api.js";
import { saveCsv } from "./csv.js";
import { announce, byId, facts, make, renew } from "./dom.js";
import { decimal, minute, percent, probability } from "./numbers.js";
import { clearMarks, loadPart, markFields, orShowProblem } from "./problem.js";
import { choose, chosen } from "./state.js";

/** @typedef {import("./contract.js").PredictionPage} PredictionPage */
/** @typedef {import("./contract.js").StoredPrediction} StoredPrediction */

const FILTERS = ["tenant", "model", "task", "from", "to", "abstain", "label"];
const ON_A_PAGE = 25;
const IN_A_REQUEST = 200;

/** @type {string|null} the cursor of the page that is shown; null: the first */
let place = null;
/** @type {string|null} */
let next = null;

/** Set up the form and the buttons. @param {() => string} currentWindow */
export function setUpPredictions(currentWindow) {
  for (const name of FILTERS) control(name).value = chosen(`p-${name}`);
  const form = byId("predictions-form", HTMLFormElement);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    choose(Object.fromEntries(FILTERS.map((name) => [`p-${name}`, control(name).value])));
    go(null, currentWindow());
  });
  byId("predictions-clear").addEventListener("click", () => {
    for (const name of FILTERS) control(name).value = "";
    form.requestSubmit();
  });
  byId("predictions-first").addEventListener("click", () => go(null, currentWindow()));
  byId("predictions-next").addEventListener("click", () => go(next, currentWindow()));
  byId("predictions-csv").addEventListener("click", () => download(currentWindow()));
}

/** Show the filter of the tenant to those who may see several. @param {boolean} may */
export function offerTenants(may) {
  byId("predictions-tenant-field").hidden = !may;
}

/** Load the first page again; an older page stays as it is. @param {string} window @param {() => boolean} isWanted */
export async function refreshPredictions(window, isWanted) {
  if (place !== null) return;
  const page = await loadPart(byId("predictions-body"), () => request(window, null));
  if (page !== null && isWanted()) show(page);
}

/** @param {string|null} cursor @param {string} window */
async function go(cursor, window) {
  const form = byId("predictions-form", HTMLFormElement);
  clearMarks(form);
  const body = byId("predictions-body");
  const page = await orShowProblem(body, () => request(window, cursor), (problem) => markFields(form, problem));
  if (page === null) return;
  place = cursor;
  show(page);
  announce(`${page.predictions.length} predictions`);
}

/** @param {string} name */
const control = (name) => /** @type {HTMLInputElement|HTMLSelectElement} */ (byId(`predictions-${name}`));

/** Ask until something is found: a page may be empty although there are more. @param {string} window @param {string|null} cursor @returns {Promise<PredictionPage>} */
async function request(window, cursor, limit = ON_A_PAGE) {
  const query = /** @type {Record<string, string>} */ ({ window, limit: String(limit) });
  for (const [name, field] of [["tenant", "tenant"], ["model", "model"], ["task", "task"], ["from", "confidence_from"], ["to", "confidence_to"], ["abstain", "abstain"]]) {
    if (control(name).value) query[field] = control(name).value;
  }
  const [field, value] = control("label").value.split("=");
  if (value) query[field] = value;
  let at = cursor;
  for (;;) {
    /** @type {PredictionPage} */
    const page = await get("predictions", at === null ? query : { ...query, cursor: at });
    if (page.predictions.length || page.next === null) return page;
    at = page.next;
  }
}

/** @param {PredictionPage} page */
function show(page) {
  next = page.next;
  byId("predictions-first").hidden = place === null;
  byId("predictions-next").hidden = next === null;
  const body = byId("predictions-body");
  if (!page.predictions.length) {
    renew(body, make("p", { class: "empty" }, `No prediction since ${minute(page.since)} passes the filters.`));
    return;
  }
  const columns = ["Time", "Model", "Task", "Answer", "Confidence", "Abstained", "Label", "More"];
  const head = make("tr", {}, ...columns.map((text) => make("th", { scope: "col" }, text)));
  renew(
    body,
    make(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": "Predictions", "data-keep": "predictions" },
      make("table", { class: "predictions" }, make("caption", { class: "unseen" }, "Predictions, the newest first"), make("thead", {}, head), make("tbody", {}, ...page.predictions.map(row))),
    ),
  );
}

/** @param {StoredPrediction} prediction */
function row(prediction) {
  const { option, label, abstain } = prediction;
  const cells = [
    prediction.model,
    prediction.task,
    `${option.label} ${option.text ?? ""}`.trim(),
    probability(prediction.confidence),
    abstain ? "yes" : "no",
    label === null ? "none" : label.correct ? "right" : `wrong, ${label.option.label}`,
  ];
  const more = make("details", { "data-keep": prediction.prediction_id }, make("summary", {}, "Details"));
  more.addEventListener("toggle", () => {
    if (more.children.length === 1) more.append(details(prediction));
  });
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, minute(prediction.created_at)),
    ...cells.map((text) => make("td", {}, text)),
    make("td", {}, more),
  );
}

/** Everything that is stored of a prediction, and its history. @param {StoredPrediction} prediction */
function details(prediction) {
  const { label, question, probabilities, feu, threshold } = prediction;
  const shares = probabilities.map(({ label: letter, probability: share }) => `${letter} ${percent(share)}`).join(", ");
  return facts([
    ["Prediction", prediction.prediction_id],
    ["Tenant", prediction.tenant],
    ["Probabilities", shares],
    ["FEU", feu === null ? "none" : decimal(feu)],
    ["Threshold", threshold === null ? "none" : decimal(threshold)],
    ["Tags", prediction.tags.length ? prediction.tags.join(", ") : "none"],
    ["Question", question === null ? "not stored" : question.question, question?.options?.join(" / ")],
    ["Answered", minute(prediction.created_at), `by ${prediction.model}, ${prediction.method}`],
    [
      "Labelled",
      label === null ? "not yet" : minute(label.labelled_at),
      label && `The right option is ${label.option.label}${label.source === null ? "" : `, says ${label.source}`}.`,
    ],
  ]);
}

/** Save every prediction that the filters select. @param {string} window */
async function download(window) {
  const button = byId("predictions-csv", HTMLButtonElement);
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  await orShowProblem(byId("predictions-body"), async () => {
    /** @type {StoredPrediction[]} */
    const found = [];
    /** @type {string|null} */
    let cursor = null;
    do {
      const page = await request(window, cursor, IN_A_REQUEST);
      found.push(...page.predictions);
      cursor = page.next;
      button.textContent = `${found.length} predictions`;
    } while (cursor !== null);
    saveCsv(found);
    announce(`${found.length} predictions saved as CSV`);
  });
  button.textContent = "Download CSV";
  button.removeAttribute("aria-disabled");
}
