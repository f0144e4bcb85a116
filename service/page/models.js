// @ts-check
// The registered models: their state on this replica and their scores on the test split.

import { get } from "./api.js";
import { byId, facts, make } from "./dom.js";
import { between, counted, decimal, percent, whole } from "./numbers.js";

/** @typedef {import("./contract.js").DamagedModel} DamagedModel */
/** @typedef {import("./contract.js").Model} Model */
/** @typedef {import("./contract.js").ModelList} ModelList */
/** @typedef {import("./contract.js").ModelPage} ModelPage */

/** Request every registered model, page by page. @returns {Promise<ModelList>} */
export async function listModels() {
  /** @type {ModelList} */
  const list = { models: [], damaged: [] };
  /** @type {string|null} */
  let cursor = null;
  do {
    /** @type {ModelPage} */
    const page = await get("models", cursor === null ? {} : { cursor });
    list.models.push(...page.models);
    list.damaged.push(...page.damaged);
    cursor = page.next;
  } while (cursor !== null);
  return list;
}

/** @param {ModelList} list */
export function showModels({ models, damaged }) {
  const cards = [...models.map(card), ...damaged.map(damagedCard)];
  const none = make("p", { class: "empty" }, "No model is registered. Publish one to the model store.");
  byId("models-body").replaceChildren(cards.length ? make("div", { class: "cards" }, ...cards) : none);
}

/** @param {Model} model */
function card(model) {
  const { scores } = model;
  const times = model.passes === 1 ? "once" : `${whole(model.passes)} times`;
  const floor = `If perfectly calibrated: ${decimal(scores.ece_noise_floor)} (95th percentile ${decimal(scores.ece_noise_floor_p95)}).`;
  return make(
    "article",
    { class: "card" },
    make("h3", {}, `${model.name}@${model.version}`),
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
  );
}

/** @param {Model} model */
function states(model) {
  const state = model.ready ? "ready" : model.loaded ? "loaded, not ready" : "registered, not loaded";
  return [state, ...(model.default ? ["default"] : []), ...model.aliases];
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
