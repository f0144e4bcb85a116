// @ts-check
// The first screen: each version that answered, whether it is calibrated and since when, and what to do.

import { byId, make, renew } from "./dom.js";
import { counted, minute, percent, probability } from "./numbers.js";
import { copyable } from "./snippet.js";
import { firstAlarm, kindOf, reasonsOf, stateOf } from "./verdict.js";

/** @typedef {import("./contract.js").Alarm} Alarm */
/** @typedef {import("./contract.js").CalibrationReport} CalibrationReport */
/** @typedef {import("./contract.js").Cohort} Cohort */
/** @typedef {import("./contract.js").PromotionEntry} PromotionEntry */
/** @typedef {import("./contract.js").PromotionHistory} PromotionHistory */
/** @typedef {import("./contract.js").Status} Status */

/**
 * Show a card per version, those with the most predictions first.
 * @param {Status} status @param {CalibrationReport} report
 * @param {Map<string, PromotionHistory>} promotions of each name
 */
export function showStatus(status, report, promotions) {
  const cohorts = [...report.models].sort((a, b) => b.predictions - a.predictions);
  const standard = status.default_model;
  const silent = standard !== null && !cohorts.some(({ model }) => model === standard);
  const cards = [
    ...(silent ? [silentCard(standard, report)] : []),
    ...cohorts.map((cohort) => card(cohort, report, promotions.get(nameOf(cohort.model)) ?? null, cohort.model === standard)),
  ];
  const none = make("p", { class: "empty" }, `No version has answered since ${minute(report.since)}.`);
  renew(byId("status-body"), cards.length ? make("div", { class: "cards strip" }, ...cards) : none);
}

/** Show the state of the replica that answered. @param {Status} status */
export function showReplica(status) {
  const { queue, latency, ready, version, started_at: started } = status;
  const speed = latency
    ? `median ${milliseconds(latency.median_seconds)}, 95th percentile ${milliseconds(latency.p95_seconds)} over ${counted(latency.requests, "request")} of the last 5 minutes`
    : "no request answered in the last 5 minutes";
  byId("replica").textContent =
    `This replica: ${ready ? "ready" : "not ready"}, ${queue.waiting} of ${queue.limit} places in the queue taken, ` +
    `${speed}. uq4ct ${version}, started ${minute(started)}.`;
}

/** The name of name@version. @param {string} reference */
export const nameOf = (reference) => reference.split("@")[0];

/** @param {number} seconds */
const milliseconds = (seconds) => (seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`);

/** @param {string} model @param {CalibrationReport} report */
function silentCard(model, report) {
  return make(
    "article",
    { class: "card unknown" },
    make("h3", {}, model),
    tags(["default"]),
    make("p", {}, `Has answered nothing since ${minute(report.since)}.`),
  );
}

/** @param {Cohort} cohort @param {CalibrationReport} report @param {PromotionHistory|null} history @param {boolean} isDefault */
function card(cohort, report, history, isDefault) {
  const { model, verdict } = cohort;
  const alarm = firstAlarm(report.alarms, model);
  const serves = history !== null && `${nameOf(model)}@${history.aliases.production}` === model;
  const current = serves ? (history.promotions.find(({ alias }) => alias === "production") ?? null) : null;
  return make(
    "article",
    { class: `card ${kindOf(verdict)}` },
    make("h3", {}, model),
    tags([...(isDefault ? ["default"] : []), ...(serves ? ["production"] : [])]),
    make(
      "p",
      { class: "state" },
      make("strong", {}, stateOf(verdict)),
      alarm === null ? "" : ` since ${minute(alarm.alarmed_at)} or earlier`,
    ),
    make("p", {}, evidence(cohort, report)),
    current === null ? null : make("p", { class: "hint" }, lastChange(current)),
    kindOf(verdict) === "off" ? whatToDo(cohort, goodBefore(cohort, current, report), alarm) : null,
  );
}

/** @param {string[]} names */
const tags = (names) => (names.length ? make("ul", { class: "states" }, ...names.map((name) => make("li", {}, name))) : null);

/** @param {Cohort} cohort @param {CalibrationReport} report */
function evidence({ labelled, predictions, coverage, mean_confidence: mean }, report) {
  const traffic = `${counted(predictions, "prediction")} since ${minute(report.since)}, ${percent(coverage)} without abstention`;
  if (labelled === null) return `No labels yet: ${traffic}; mean confidence ${probability(mean)}.`;
  const { mean_confidence: confidence, accuracy, questions } = labelled;
  return `Mean confidence ${probability(confidence)}, accuracy ${probability(accuracy)} on ${counted(questions, "label")} of ${traffic}.`;
}

/** @param {PromotionEntry} entry */
function lastChange({ promoted_at: time, previous }) {
  return `In production since ${minute(time)}${previous === null ? "" : `, before it version ${previous}`}.`;
}

/** The version that was in production before, unless it has an alarm itself. @param {Cohort} cohort @param {PromotionEntry|null} current @param {CalibrationReport} report */
function goodBefore({ model }, current, { alarms }) {
  const previous = current?.previous ?? null;
  return firstAlarm(alarms, `${nameOf(model)}@${previous}`) === null ? previous : null;
}

/** @param {Cohort} cohort @param {number|null} previous the version to roll back to @param {Alarm|null} alarm */
function whatToDo({ model, verdict }, previous, alarm) {
  const command =
    previous === null ? `uq4ct calibration-report --model ${model} --output report.html` : `uq4ct promote ${nameOf(model)} ${previous}`;
  const purpose = previous === null ? "Find out when it began" : `Roll back to version ${previous}`;
  const section = alarm === null ? "miscalibrated" : "sequentialalarm";
  return make(
    "div",
    { class: "to-do" },
    make("p", { class: "hint" }, `Found: ${reasonsOf(verdict)}.`),
    make("p", {}, `${purpose}: `, copyable(command), " ", make("a", { href: `runbook#${section}`, "data-keep": `runbook ${model}` }, "Runbook")),
  );
}
