// @ts-check
// The words for a verdict, its reasons and its alarms.

/** @typedef {import("./contract.js").Alarm} Alarm */
/** @typedef {import("./contract.js").Cohort} Cohort */
/** @typedef {import("./contract.js").Verdict} Verdict */

const STATES = {
  no_evidence: "Nothing speaks against the confidence",
  too_few_labels: "Too few labels for a verdict",
  overconfident: "Overconfident",
  underconfident: "Underconfident",
  miscalibrated: "Miscalibrated",
  more_errors: "More errors than on the calibration split",
};
const REASONS = {
  overconfident_alarm: "the sequential test of overconfidence has raised an alarm",
  underconfident_alarm: "the sequential test of underconfidence has raised an alarm",
  error_rate_alarm: "the sequential test of the error rate has raised an alarm",
  ece: "the calibration error is above what chance explains",
  gap_z: "the gap between confidence and accuracy is beyond 3 standard deviations",
  spiegelhalter_z: "Spiegelhalter's Z is beyond 3 standard deviations",
};

/** @param {Verdict} verdict */
export const stateOf = ({ state }) => STATES[state];

/** @param {Verdict} verdict */
export const reasonsOf = ({ reasons }) => reasons.map((reason) => REASONS[reason]).join("; ");

/** The class of a verdict's mark: good, unknown or off. @param {Verdict} verdict */
export const kindOf = ({ state }) => ({ no_evidence: "good", too_few_labels: "unknown" })[/** @type {string} */ (state)] ?? "off";

/** The first alarm of a version, or null. @param {Alarm[]} alarms @param {string} model */
export function firstAlarm(alarms, model) {
  const own = alarms.filter((alarm) => alarm.model === model);
  return own.reduce((first, alarm) => (first === null || alarm.alarmed_at < first.alarmed_at ? alarm : first), /** @type {Alarm|null} */ (null));
}
