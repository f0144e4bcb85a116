// @ts-check
// The registered models page by page: state on this replica, test scores, promotions, and buttons for those who may promote.

import { get, post } from "./api.js";
import { announce, byId, facts, make, renew } from "./dom.js";
import { between, counted, decimal, minute, percent, whole } from "./numbers.js";
import { loadPart, orShowProblem } from "./problem.js";
import { choose, chosen } from "./state.js";

/** @typedef {import("./contract.js").DamagedModel} DamagedModel */
/** @typedef {import("./contract.js").Model} Model */
/** @typedef {import("./contract.js").ModelPage} ModelPage */
/** @typedef {import("./contract.js").PromotionHistory} PromotionHistory */

const ON_A_PAGE = 12;
const PRODUCTION = "production";

/** @type {string|null} the cursor of the page that is shown; null: the first */
let place = null;
/** @type {string|null} */
let next = null;
let mayPromote = false;

/** Set up the search and the buttons. @param {(models: Model[]) => void} onList @param {() => void} onPromoted */
export function setUpModels(onList, onPromoted) {
  const search = byId("models-search", HTMLInputElement);
  search.value = chosen("search");
  byId("models-form").addEventListener("submit", (event) => {
    event.preventDefault();
    choose({ search: search.value });
    go(null);
  });
  byId("models-first").addEventListener("click", () => go(null));
  byId("models-next").addEventListener("click", () => go(next));
  listener = { onList, onPromoted };
}

/** @type {{onList: (models: Model[]) => void, onPromoted: () => void}} */
let listener = { onList: () => {}, onPromoted: () => {} };

/** Load the page of the list again. @param {boolean} may whether the key may promote @param {() => boolean} isWanted */
export async function refreshModels(may, isWanted) {
  mayPromote = may;
  const page = await loadPart(byId("models-body"), () => request(place));
  if (page !== null && isWanted()) show(page);
}

/** @param {string|null} cursor */
async function go(cursor) {
  const page = await orShowProblem(byId("models-body"), () => request(cursor));
  if (page === null) return;
  place = cursor;
  show(page);
  announce(counted(page.models.length, "model"));
}

/** @param {string|null} cursor @returns {Promise<ModelPage>} */
function request(cursor) {
  const search = byId("models-search", HTMLInputElement).value.trim().toLowerCase().split("@")[0];
  return get("models", { limit: String(ON_A_PAGE), ...(search ? { search } : {}), ...(cursor === null ? {} : { cursor }) });
}

/** @param {ModelPage} page */
function show({ models, damaged, next: following }) {
  next = following;
  byId("models-first").hidden = place === null;
  byId("models-next").hidden = next === null;
  const cards = [...models.map(card), ...damaged.map(damagedCard)];
  const search = byId("models-search", HTMLInputElement).value;
  const none = search ? `No name contains ${search}.` : "No model is registered. Publish one: uq4ct publish.";
  renew(
    byId("models-body"),
    cards.length ? make("div", { class: "cards" }, ...cards) : make("p", { class: "empty" }, none),
  );
  listener.onList(models);
}

/** @param {Model} model */
function card(model) {
  const { scores } = model;
  const reference = `${model.name}@${model.version}`;
  const times = model.passes === 1 ? "once" : `${whole(model.passes)} times`;
  const floor = `If perfectly calibrated: ${decimal(scores.ece_noise_floor)} (95th percentile ${decimal(scores.ece_noise_floor_p95)}).`;
  return make(
    "article",
    { class: "card" },
    make("h3", {}, reference),
    make("ul", { class: "states" }, ...states(model).map((state) => make("li", {}, state))),
    facts([
      ["Method", model.method, `On ${model.base.name}. Each question passes through the model ${times}.`],
      ["Accuracy", percent(scores.accuracy), `95 % interval ${between(scores.accuracy_interval, percent)}.`],
      [
        "RMS calibration error",
        decimal(scores.rms_calibration_error),
        `95 % interval ${between(scores.rms_calibration_error_interval)}. Without the part that chance adds.`,
      ],
      ["Expected calibration error", decimal(scores.ece), floor],
      ["Log loss", `${decimal(scores.nll)} nats`, `95 % interval ${between(scores.nll_interval)}.`],
      ["Brier score", decimal(scores.brier), `95 % interval ${between(scores.brier_interval)}.`],
    ]),
    make("p", { class: "hint" }, `Scores on ${counted(scores.questions, "question")} of the test split.`),
    promotions(model.name, reference),
    mayPromote && !model.aliases.includes(PRODUCTION) ? promoteButton(model.name, model.version, "Promote to production") : null,
  );
}

/** @param {Model} model */
function states(model) {
  const state = model.ready ? "ready" : model.loaded ? "loaded, not ready" : "registered, not loaded";
  return [state, ...(model.default ? ["default"] : []), ...model.aliases];
}

/** The promotions of a name, requested when they are opened. @param {string} name @param {string} reference */
function promotions(name, reference) {
  const box = make("div", {}, make("p", { class: "hint" }, "Loading"));
  const all = make("details", { "data-keep": `promotions ${reference}` }, make("summary", {}, `Promotions of ${name}`), box);
  all.addEventListener("toggle", async () => {
    if (!all.open) return;
    /** @type {PromotionHistory|null} */
    const found = await orShowProblem(box, () => get(`models/${name}/promotions`));
    if (found !== null) box.replaceChildren(history(name, found));
  });
  return all;
}

/** @param {string} name @param {PromotionHistory} history */
function history(name, { aliases, promotions: entries }) {
  if (!entries.length) return make("p", { class: "hint" }, "No promotion is recorded.");
  const offered = new Set([aliases[PRODUCTION]]);
  const rows = entries.map(({ alias, version, previous, promoted_at: time }) => {
    const what = `${minute(time)}: ${alias} to version ${version}${previous === null ? "" : `, before it ${previous}`}`;
    const isNew = mayPromote && alias === PRODUCTION && !offered.has(version);
    offered.add(version);
    return make("li", {}, `${what} `, isNew ? promoteButton(name, version, `Roll back to ${version}`) : null);
  });
  return make("ol", { class: "promotions" }, ...rows);
}

/** A button that asks once more before it promotes. @param {string} name @param {number} version @param {string} text */
function promoteButton(name, version, text) {
  const keep = `${text} ${name}@${version}`;
  const button = make("button", { type: "button", class: "quiet", "data-keep": keep, "aria-label": `${text}: ${name}@${version}` }, text);
  button.addEventListener("click", async () => {
    if (!confirm(`Make ${name}@${version} the production version? Requests for ${name} will be answered by it.`)) return;
    const result = byId("models-result");
    const done = await orShowProblem(result, () => post(`models/${name}/promote`, { version }));
    result.focus();
    if (done === null) return;
    const words = `${name}@${version} is now the production version.`;
    result.replaceChildren(make("p", {}, words));
    announce(words);
    listener.onPromoted();
  });
  return button;
}

/** @param {DamagedModel} model */
function damagedCard(model) {
  return make(
    "article",
    { class: "card damaged" },
    make("h3", {}, model.version === null ? model.name : `${model.name}@${model.version}`),
    make("p", {}, make("strong", {}, "Damaged. "), model.error),
  );
}
