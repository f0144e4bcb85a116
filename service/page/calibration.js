// @ts-check
// The calibration of a version in the window: verdict, errors, reliability diagram, traffic and tests.

import { reliabilityDiagram } from "./diagram.js";
import { byId, facts, make, renew, table } from "./dom.js";
import { between, counted, day, decimal, duration, minute, percent, percentOrNone, probability } from "./numbers.js";
import { kindOf, reasonsOf, stateOf } from "./verdict.js";

/** @typedef {import("./contract.js").CalibrationReport} CalibrationReport */
/** @typedef {import("./contract.js").Cohort} Cohort */
/** @typedef {import("./contract.js").Labelled} Labelled */
/** @typedef {import("./contract.js").Reference} Reference */
/** @typedef {{model: string, cohort: Cohort|null}} Shown */

/** Show one version, or two side by side. @param {Shown[]} versions @param {CalibrationReport} report */
export function showCalibration(versions, report) {
  const parts = versions.map(({ model, cohort }) => show(cohort, model, report, versions.length > 1));
  renew(byId("calibration-body"), ...(parts.length > 1 ? [make("div", { class: "columns" }, ...parts)] : parts));
}

/** @param {Cohort|null} cohort @param {string} model @param {CalibrationReport} report @param {boolean} isNarrow */
function show(cohort, model, report, isNarrow) {
  if (cohort === null) {
    const since = `${model} has answered nothing since ${minute(report.since)}.`;
    return make("p", { class: "empty" }, `${since} Ask a question below, or choose a longer window.`);
  }
  const { labelled } = cohort;
  const title = make("h3", {}, model);
  if (labelled === null) {
    return make("div", {}, title, verdict(cohort), noLabels(cohort), facts(traffic(cohort)), tests(cohort));
  }
  const words = [
    verdict(cohort),
    errors(labelled),
    facts([...scores(labelled, cohort), ...traffic(cohort)]),
    tests(cohort),
  ];
  const diagram = reliabilityDiagram(labelled.bins, model);
  if (isNarrow) return make("div", {}, title, diagram, ...words);
  return make("div", { class: "columns" }, diagram, make("div", {}, title, ...words));
}

/** @param {Cohort} cohort */
function noLabels(cohort) {
  return make(
    "p",
    { class: "empty" },
    make("strong", {}, "No labels yet. "),
    `The window has ${counted(cohort.predictions, "prediction")} of ${cohort.model}. Send the correct options to `,
    make("code", {}, "POST /feedback"),
    " with the ids of the predictions, or click the correct option under an answer below.",
  );
}

/** @param {Cohort} cohort */
function verdict(cohort) {
  const found = reasonsOf(cohort.verdict);
  const labels = counted(cohort.labelled?.questions ?? 0, "label");
  return make(
    "div",
    { class: `verdict ${kindOf(cohort.verdict)}` },
    make("p", {}, make("strong", {}, `${stateOf(cohort.verdict)}.`), found ? ` Found: ${found}.` : ` ${labels}.`),
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
    `Sequential tests of ${cohort.model}`,
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
