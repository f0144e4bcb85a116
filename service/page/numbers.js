// @ts-check
// Format numbers for display.

/** @typedef {import("./contract.js").Range} Range */

/** A share of 1 in percent: 83.1 %, on one line. Only 0 and 1 are shown as 0 and 100 %. @param {number} share */
export const percent = (share) => `${inside(100 * share, 100, 1)}\u00a0%`;

/** A share in percent, or "none". @param {number|null} share */
export const percentOrNone = (share) => (share === null ? "none" : percent(share));

/** A probability with three decimals; only 0 and 1 are shown as such. @param {number} value */
export const probability = (value) => inside(value, 1, 3);

/**
 * A number in [0, `top`]; one strictly inside never rounds to an end: "> 0.999", "< 0.001".
 * @param {number} value @param {number} top @param {number} places
 */
function inside(value, top, places) {
  const smallest = 10 ** -places;
  const shown = value.toFixed(places);
  if (value > 0 && Number(shown) === 0) return `<\u00a0${smallest.toFixed(places)}`;
  if (value < top && Number(shown) === top) return `>\u00a0${(top - smallest).toFixed(places)}`;
  return shown;
}

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

/** The time of day of a moment, to the second. @param {Date} moment */
export const clock = (moment) => `${moment.toISOString().slice(11, 19)} UTC`;

/** A time from the API, to the day. @param {string} time */
export const day = (time) => new Date(time).toISOString().slice(0, 10);

/** A time from the API, to the minute. @param {string} time */
export const minute = (time) => `${new Date(time).toISOString().slice(0, 16).replace("T", " ")} UTC`;
