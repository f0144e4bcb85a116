// @ts-check
// Puts the parts of the page together: what is loaded, in which order, and which version is shown.

import { showAlarms } from "./alarms.js";
import { showAnswer } from "./answer.js";
import { get } from "./api.js";
import { showCalibration } from "./calibration.js";
import { byId, make, renew } from "./dom.js";
import { keepFresh } from "./fresh.js";
import { setUpKey } from "./key.js";
import { refreshModels, setUpModels } from "./models.js";
import { offerTenants, refreshPredictions, setUpPredictions } from "./predictions.js";
import { loadPart } from "./problem.js";
import { offerModels, setUpQuestion } from "./question.js";
import { keep } from "./state.js";
import { nameOf, showReplica, showStatus } from "./status.js";
import { showThreshold } from "./threshold.js";
import { MOST_VERSIONS, showTimeline } from "./timeline.js";
import { offerVersions, shownVersions } from "./versions.js";

/** @typedef {import("./contract.js").CalibrationReport} CalibrationReport */
/** @typedef {import("./contract.js").History} History */
/** @typedef {import("./contract.js").PromotionHistory} PromotionHistory */
/** @typedef {import("./contract.js").Status} Status */

const MOST_CARDS = 6;
const INTERVALS = 42; // of 4 hours in a week
const MOST_MARKS = 20; // promotions of a name that are marked in its history

/** @type {string[]} */
let listed = []; // the versions in the list of models
let isLoaded = false;
const windowSelect = byId("window", HTMLSelectElement);
const currentWindow = () => windowSelect.value;
const refresh = keepFresh(load);

setUpKey(refresh);
setUpQuestion((answer, options) => {
  showAnswer(answer, options, refresh);
  if (!isLoaded) refresh(); // loading failed earlier, for example without a key
});
keep(windowSelect, "window", refresh);
for (const name of ["model", "compare"]) keep(byId(`calibration-${name}`, HTMLSelectElement), name, refresh);
setUpPredictions(currentWindow);
setUpModels((models) => {
  listed = models.map(({ name, version }) => `${name}@${version}`);
}, refresh);
await refresh();

/** Load everything, the first screen first. @param {() => boolean} isWanted @returns {Promise<boolean>} whether to go on by itself */
async function load(isWanted) {
  const window = currentWindow();
  const [status, report] = await Promise.all([
    loadPart(byId("status-body"), () => /** @type {Promise<Status>} */ (get("status"))),
    loadPart(byId("calibration-body"), () => readReport({ window, versions: String(MOST_CARDS) })),
  ]);
  if (!isWanted()) return false;
  isLoaded = status !== null;
  if (status === null) {
    for (const part of ["calibration", "threshold", "predictions", "models"]) showEmpty(part, "Not loaded: the reason is above.");
    return false;
  }
  const promotions = await readPromotions(status, report);
  if (!isWanted()) return false;
  showReplica(status);
  if (report === null) showEmpty("status", "The ledger cannot be read: the reason is below.");
  else {
    showAlarms(report.alarms);
    showStatus(status, report, promotions);
  }
  const isAdmin = status.scopes.includes("admin");
  offerTenants(isAdmin);
  await Promise.all([refreshModels(isAdmin, isWanted), refreshPredictions(window, isWanted)]);
  if (isWanted()) await showVersions(window, status, report, promotions, isWanted);
  return true;
}

/** @param {string} part of the page @param {string} reason why there is nothing in it */
function showEmpty(part, reason) {
  renew(byId(`${part}-body`), make("p", { class: "empty" }, reason));
}

/** @param {Record<string, string>} query @returns {Promise<CalibrationReport>} */
function readReport(query) {
  return get("calibration", query);
}

/** The promotions of each name on the first screen. @param {Status} status @param {CalibrationReport|null} report */
async function readPromotions(status, report) {
  const references = [...(report?.models ?? []).map(({ model }) => model), ...(status.default_model ? [status.default_model] : [])];
  const names = [...new Set(references.map(nameOf))];
  const found = await Promise.all(
    names.map(async (name) => {
      // A damaged record must not hide the first screen; the list of models shows what is wrong with it.
      const answer = await loadPart(make("div"), () => get(`models/${name}/promotions`));
      return /** @type {[string, PromotionHistory]} */ ([name, answer ?? { aliases: {}, promotions: [] }]);
    }),
  );
  return new Map(found);
}

/**
 * Show the chosen version, beside another one if one is chosen, and their history.
 * @param {string} window @param {Status} status @param {CalibrationReport|null} report
 * @param {Map<string, PromotionHistory>} promotions @param {() => boolean} isWanted
 */
async function showVersions(window, status, report, promotions, isWanted) {
  const answered = (report?.models ?? []).map(({ model }) => model);
  const references = offerVersions([...answered, ...listed], status.default_model);
  offerModels(status.default_model, references);
  if (report === null) {
    showThreshold(undefined);
    return;
  }
  const models = shownVersions();
  if (!models.length) {
    showEmpty("calibration", "No model is registered. Publish one: uq4ct publish.");
    showThreshold(undefined);
    return;
  }
  const found = await loadPart(byId("calibration-body"), () =>
    Promise.all([
      Promise.all(models.map(async (model) => ({ model, cohort: await cohortOf(model, report, window) }))),
      readHistory(models, window),
    ]),
  );
  if (found === null || !isWanted()) return;
  const [versions, history] = found;
  showCalibration(versions, report);
  showThreshold(versions[0].cohort);
  showTimeline(history, changesIn(history, report, promotions));
}

/** @param {string} model @param {CalibrationReport} report @param {string} window */
async function cohortOf(model, report, window) {
  const { models } = report.models.some((one) => one.model === model) ? report : await readReport({ window, model });
  return models.find((one) => one.model === model) ?? null;
}

/** The history of the chosen versions or, if one is chosen, of all versions of its name. @param {string[]} models @param {string} window */
async function readHistory(models, window) {
  const wanted = models.length > 1 ? models : [nameOf(models[0])];
  /** @type {History[]} */
  const found = await Promise.all(
    wanted.map((model) => get("calibration/history", { window, model, points: String(INTERVALS), versions: String(MOST_VERSIONS) })),
  );
  return { ...found[0], models: found.flatMap((one) => one.models) };
}

/** The promotions and alarms of the history's versions, in the order of time. @param {History} history @param {CalibrationReport} report @param {Map<string, PromotionHistory>} promotions */
function changesIn(history, report, promotions) {
  const models = history.models.map(({ model }) => model);
  const names = [...new Set(models.map(nameOf))];
  const promoted = names.flatMap((name) =>
    (promotions.get(name)?.promotions ?? [])
      .filter(({ alias }) => alias === "production")
      .slice(0, MOST_MARKS)
      .map(({ version, promoted_at: time }) => ({ time, text: `${name}@${version} promoted`, kind: /** @type {const} */ ("promotion") })),
  );
  const alarms = report.alarms
    .filter(({ model }) => models.includes(model))
    .map(({ model, test, alarmed_at: time }) => ({ time, text: `${model}: ${test.replaceAll("_", " ")}`, kind: /** @type {const} */ ("alarm") }));
  return [...promoted, ...alarms]
    .filter(({ time }) => time >= history.since && time <= history.until)
    .sort((a, b) => a.time.localeCompare(b.time));
}
