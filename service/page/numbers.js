// @ts-check
// Format numbers for display.

/** @typedef {import("./contract.js").Range} Range */

/** A share of 1 in percent: 83.1 %, on one line. @param {number} share */
export const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

/** A share in percent, or "none". @param {number|null} share */
export const percentOrNone = (share) => (share === null ? "none" : percent(share));

/** Three decimals. @param {number} value */
export const decimal = (value) => value.toFixed(3);

/** @param {number} count */
export const whole = (count) => count.toLocaleString("en-GB");

/** @param {Range} range @param {(value: number) => string} [show] */
export const between = (range, show = decimal) => `${show(range.low)} to ${show(range.high)}`;

/** A count with its noun: 1 label, 2 labels. @param {number} count @param {string} noun */
export const counted = (count, noun) => `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;

/** A duration in a fitting unit: 90 s, 5.0 min, 2.0 h, 3.0 d. @param {number} seconds */
export function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(1)} min`;
  if (seconds < 172_800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86_400).toFixed(1)} d`;
}

/** A time from the API, to the day. @param {string} time */
export const day = (time) => new Date(time).toISOString().slice(0, 10);

/** A time from the API, to the minute. @param {string} time */
export const minute = (time) => `${new Date(time).toISOString().slice(0, 16).replace("T", " ")} UTC`;
