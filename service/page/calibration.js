// @ts-check
// Live calibration: choose a model and a window, and show the results.

import { showAlarms } from "./alarms.js";
import { get } from "./api.js";
import { reliabilityDiagram } from "./diagram.js";
import { announce, byId, facts, make, table } from "./dom.js";
import { between, counted, day, decimal, duration, minute, percent, percentOrNone, probability } from "./numbers.js";
import { orShowProblem } from "./problem.js";

/** @typedef {import("./contract.js").CalibrationReport} CalibrationReport */
/** @typedef {import("./contract.js").Cohort} Cohort */
/** @typedef {import("./contract.js").Labelled} Labelled */
/** @typedef {import("./contract.js").Model} Model */
/** @typedef {import("./contract.js").Reference} Reference */
/** @typedef {(cohort: Cohort|null|undefined) => void} OnCohort */

const STATES = {
  no_evidence: "Nothing speaks against the confidence.",
  too_few_labels: "Too few labels for a verdict.",
  overconfident: "Overconfident.",
  underconfident: "Underconfident.",
  miscalibrated: "Miscalibrated.",
  more_errors: "More errors than on the calibration split.",
};
const REASONS = {
  overconfident_alarm: "the sequential test of overconfidence has raised an alarm",
  underconfident_alarm: "the sequential test of underconfidence has raised an alarm",
  error_rate_alarm: "the sequential test of the error rate has raised an alarm",
  ece: "the calibration error is above what chance explains",
  gap_z: "the gap between confidence and accuracy is beyond 3 standard deviations",
  spiegelhalter_z: "Spiegelhalter's Z is beyond 3 standard deviations",
};

let latest = 0; // number of the latest request: a slow response must not replace a later one

/**
 * Set up the form that requests the calibration.
 * @param {OnCohort} onCohort
 * @param {() => Promise<void>} load called if no versions are known yet
 */
export function setUpCalibration(onCohort, load) {
  const form = byId("calibration-form", HTMLFormElement);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!byId("calibration-model", HTMLSelectElement).value) await load();
    else if (await refreshCalibration(onCohort)) announce("Calibration is up to date");
  });
  form.addEventListener("change", () => refreshCalibration(onCohort));
}

/** List the registered versions and select the default first. @param {Model[]} models */
export function offerVersions(models) {
  const select = byId("calibration-model", HTMLSelectElement);
  const chosen = select.value;
  const references = models.map((model) => `${model.name}@${model.version}`);
  const standard = models.findIndex((model) => model.default);
  select.replaceChildren(...references.map((reference) => make("option", { value: reference }, reference)));
  if (references.length) select.value = references.includes(chosen) ? chosen : references[Math.max(standard, 0)];
}

/** Show that no versions are known yet. */
export function showNoVersions() {
  const text = "The models could not be listed; the reason is below. Press Refresh to try again.";
  byId("calibration-body").replaceChildren(make("p", { class: "empty" }, text));
}

/**
 * Request the calibration of the chosen model and window, show it and pass it on.
 * @param {OnCohort} onCohort called with null if the model answered nothing in the window, with undefined if there is no report
 * @returns {Promise<boolean>} whether a report is shown
 */
export async function refreshCalibration(onCohort) {
  const query = {
    window: byId("calibration-window", HTMLSelectElement).value,
    model: byId("calibration-model", HTMLSelectElement).value,
  };
  if (!query.model) return false;
  latest += 1;
  const mine = latest;
  const body = byId("calibration-body");
  /** @type {CalibrationReport|null} */
  const report = await orShowProblem(body, () => get("calibration", query), undefined, () => mine === latest);
  if (mine !== latest) return false;
  if (report === null) {
    onCohort(undefined);
    return false;
  }
  showAlarms(report.alarms);
  const cohort = report.models.find((one) => one.model === query.model) ?? null;
  body.replaceChildren(...show(cohort, query.model, report));
  onCohort(cohort);
  return true;
}

/** @param {Cohort|null} cohort @param {string} model @param {CalibrationReport} report */
function show(cohort, model, report) {
  if (cohort === null) {
    const since = `${model} has answered nothing since ${minute(report.since)}.`;
    return [make("p", { class: "empty" }, `${since} Ask a question above, or choose a longer window.`)];
  }
  const { labelled } = cohort;
  if (labelled === null) return [verdict(cohort), noLabels(cohort), facts(traffic(cohort)), tests(cohort)];
  return [
    make(
      "div",
      { class: "columns" },
      reliabilityDiagram(labelled.bins, cohort.model),
      make("div", {}, verdict(cohort), errors(labelled), facts([...scores(labelled, cohort), ...traffic(cohort)]), tests(cohort)),
    ),
  ];
}

/** @param {Cohort} cohort */
function noLabels(cohort) {
  return make(
    "p",
    { class: "empty" },
    make("strong", {}, "No labels yet. "),
    `The window has ${counted(cohort.predictions, "prediction")} of ${cohort.model}. Send the correct options to `,
    make("code", {}, "POST /feedback"),
    " with the ids of the predictions, or click the correct option under an answer above.",
  );
}

/** @param {Cohort} cohort */
function verdict({ verdict: { state, reasons }, labelled }) {
  const kind = { no_evidence: "verdict good", too_few_labels: "verdict unknown" }[state] ?? "verdict off";
  const found = reasons.map((reason) => REASONS[reason]).join("; ");
  return make(
    "div",
    { class: kind },
    make("p", {}, make("strong", {}, STATES[state]), found ? ` Found: ${found}.` : ` ${counted(labelled?.questions ?? 0, "label")}.`),
  );
}

/** @param {Labelled} labelled */
function errors(labelled) {
  const { ece, ece_noise_floor: floor, rms_calibration_error: rms, rms_calibration_error_interval: interval } = labelled;
  return make(
    "div",
    {},
    make(
      "p",
      {},
      "Expected calibration error ",
      make("strong", {}, decimal(ece)),
      `; a perfectly calibrated model would show ${decimal(floor.mean)} (95th percentile ${decimal(floor.p95)}).`,
    ),
    make(
      "p",
      {},
      `RMS calibration error, without the part that chance adds: ${decimal(rms)}, 95 % interval ${between(interval)}, ` +
        `from ${counted(labelled.questions, "label")}.`,
    ),
  );
}

/** @param {Labelled} labelled @param {Cohort} cohort @returns {[string, string, (string|null)?][]} */
function scores(labelled, cohort) {
  const gap = labelled.signed_gap;
  const direction = gap > 0 ? "Overconfident" : gap < 0 ? "Underconfident" : "Neither over- nor underconfident";
  const { reference } = cohort;
  return [
    ["Accuracy", percent(labelled.accuracy), reference && onSplit(reference)],
    [
      "Signed gap",
      `${gap > 0 ? "+" : ""}${decimal(gap)}`,
      `${direction}: mean confidence ${probability(labelled.mean_confidence)}, accuracy ${probability(labelled.accuracy)}.`,
    ],
    [
      "z of the gap; Spiegelhalter's Z",
      [labelled.gap_z, labelled.spiegelhalter_z].map((z) => (z === null ? "none" : z.toFixed(2))).join("; "),
      "Values above 3 or below -3 are unlikely to be chance.",
    ],
    ["Selective risk", percentOrNone(labelled.selective_risk), "Share of errors among labelled answers without abstention."],
  ];
}

/** @param {Reference} reference */
function onSplit({ accuracy, ece, questions }) {
  return `Calibration split: ${percent(accuracy)}, calibration error ${decimal(ece)}, on ${counted(questions, "question")}.`;
}

/** @param {Cohort} cohort @returns {[string, string, (string|null)?][]} */
function traffic(cohort) {
  const delay = cohort.label_delay;
  return [
    ["Predictions", counted(cohort.predictions, "prediction"), `${percent(cohort.label_share)} have a label.`],
    ["Coverage", percent(cohort.coverage), "Share answered without abstention."],
    ["Expected accuracy", percent(cohort.mean_confidence), "Mean confidence of all predictions, labelled or not."],
    [
      "Label delay",
      delay === null ? "none" : duration(delay.median_seconds),
      delay && `Median; 90\u00a0% arrive within ${duration(delay.p90_seconds)}.`,
    ],
  ];
}

/** @param {Cohort} cohort */
function tests(cohort) {
  if (!cohort.sequential.length) return null;
  const rows = table(
    "Sequential tests",
    ["Test", "State", "Log evidence", "Labels", "Since"],
    cohort.sequential.map((test) => [
      test.test.replaceAll("_", " "),
      test.alarmed_at === null ? "quiet" : `alarm since ${day(test.alarmed_at)}`,
      test.log_evidence.toFixed(2),
      String(test.labels),
      day(test.since),
    ]),
  );
  return make("div", {}, rows, make("p", { class: "hint" }, "Valid over the life of the version, however often you look."));
}
