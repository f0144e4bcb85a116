// @ts-check
// Puts the parts of the page together.

import { showAnswer } from "./answer.js";
import { get } from "./api.js";
import { offerVersions, refreshCalibration, setUpCalibration } from "./calibration.js";
import { byId } from "./dom.js";
import { setUpKey } from "./key.js";
import { showModels } from "./models.js";
import { orShowProblem } from "./problem.js";
import { offerModels, setUpQuestion } from "./question.js";
import { showThreshold } from "./threshold.js";

/** @typedef {import("./contract.js").ModelList} ModelList */

setUpKey(load);
setUpQuestion((answer, options) => showAnswer(answer, options, () => refreshCalibration(showThreshold)));
setUpCalibration(showThreshold);
await load();

async function load() {
  /** @type {ModelList|null} */
  const list = await orShowProblem(byId("models-body"), () => get("models"));
  if (list === null) return;
  showModels(list);
  offerModels(list.models);
  offerVersions(list.models);
  await refreshCalibration(showThreshold);
}
