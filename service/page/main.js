// @ts-check
// Puts the parts of the page together.

import { showAnswer } from "./answer.js";
import { offerVersions, refreshCalibration, setUpCalibration, showNoVersions } from "./calibration.js";
import { byId } from "./dom.js";
import { setUpKey } from "./key.js";
import { listModels, showModels } from "./models.js";
import { orShowProblem } from "./problem.js";
import { offerModels, setUpQuestion } from "./question.js";
import { showThreshold } from "./threshold.js";

/** @typedef {import("./contract.js").ModelList} ModelList */

let isListed = false;

setUpKey(load);
setUpQuestion(async (answer, options) => {
  showAnswer(answer, options, () => refreshCalibration(showThreshold));
  if (!isListed) await load(); // loading failed earlier, for example without a key
});
setUpCalibration(showThreshold, load);
await load();

async function load() {
  /** @type {ModelList|null} */
  const list = await orShowProblem(byId("models-body"), listModels);
  isListed = list !== null;
  if (list === null) {
    showNoVersions();
    showThreshold(undefined);
    return;
  }
  showModels(list);
  offerModels(list.models);
  offerVersions(list.models);
  await refreshCalibration(showThreshold);
}
