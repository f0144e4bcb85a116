// @ts-check
// Confidence and accuracy over time, with the promotions and alarms that fall into the window.

import { byId, draw, make, renew, table } from "./dom.js";
import { between, counted, minute, probability, whole } from "./numbers.js";

/** @typedef {import("./contract.js").History} History */
/** @typedef {import("./contract.js").HistoryPoint} HistoryPoint */
/** @typedef {import("./contract.js").VersionHistory} VersionHistory */
/** @typedef {{time: string, text: string, kind: "alarm"|"promotion"}} Change */
/** @typedef {{low: number, x: (time: string|number) => number, y: (value: number) => number}} Scales values below `low` are drawn at it */

const WIDTH = 900;
const LEFT = 60;
const RIGHT = 16;
const TOP = 58; // the words of the changes are above the plotted area
const HEIGHT = 220;
const BOTTOM = TOP + HEIGHT;
const ROWS = 3;
const MARKERS = ["M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z", "M-5 -5H5V5H-5Z", "M0 -6L6 5H-6Z", "M0 -6L6 0L0 6L-6 0Z"];

export const MOST_VERSIONS = MARKERS.length;

/** @param {History} history at most four versions @param {Change[]} changes in the window */
export function showTimeline(history, changes) {
  const versions = history.models.filter(({ points }) => points.length).slice(-MOST_VERSIONS);
  const body = byId("history-body");
  if (!versions.length) {
    renew(body);
    return;
  }
  const scales = scalesOf(history);
  renew(
    body,
    make(
      "figure",
      { class: "timeline" },
      make(
        "div",
        { class: "scroll", tabindex: 0, role: "group", "aria-label": "Confidence and accuracy over time", "data-keep": "timeline" },
        draw(
          "svg",
          { viewBox: `0 0 ${WIDTH} ${BOTTOM + 48}`, role: "img", "aria-label": `Mean confidence and accuracy over time of ${versions.map(({ model }) => model).join(", ")}; the tables below have the numbers` },
          axes(history, scales),
          ...versions.map((version, index) => line(version, index, history, scales)),
          ...versions.map((version, index) => dots(version, index, history, scales)),
          ...changes.map((change, index) => mark(change, index, scales)),
        ),
      ),
      legend(versions),
      make(
        "figcaption",
        {},
        "Lines are the mean confidence, marks the accuracy with its 95 % interval, both of the labelled predictions of " +
          "an interval of time. Marks below their line: overconfident. Upright lines: promotions (dashed) and alarms.",
      ),
      make("details", { "data-keep": "history in numbers" }, make("summary", {}, "The history in numbers"), ...numbers(versions, changes)),
    ),
  );
}

/** @param {History} history @returns {Scales} */
function scalesOf({ since, until, models }) {
  const [begin, end] = [Date.parse(since), Date.parse(until)];
  const values = models.flatMap(({ points }) => points.flatMap((point) => [point.mean_confidence ?? 1, point.accuracy ?? 1]));
  const low = Math.min(Math.floor(5 * Math.min(1, ...values)) / 5, 0.8);
  const milliseconds = (/** @type {string|number} */ time) => (typeof time === "number" ? time : Date.parse(time));
  return {
    low,
    x: (time) => round(LEFT + ((milliseconds(time) - begin) / (end - begin)) * (WIDTH - LEFT - RIGHT)),
    y: (value) => round(BOTTOM - ((Math.max(value, low) - low) / (1 - low)) * HEIGHT),
  };
}

/** @param {History} history @param {Scales} scales */
function axes({ since, until }, scales) {
  const group = draw("g", { class: "axes" });
  const [begin, end] = [Date.parse(since), Date.parse(until)];
  for (let step = 0; step <= 5; step += 1) {
    const time = begin + (step / 5) * (end - begin);
    const x = scales.x(time);
    const anchor = step === 0 ? "start" : step === 5 ? "end" : "middle";
    group.append(
      draw("line", { x1: x, x2: x, y1: TOP, y2: BOTTOM }),
      draw("text", { x, y: BOTTOM + 18, "text-anchor": anchor }, tick(time, end - begin)),
    );
  }
  for (let value = scales.low; value <= 1.001; value += 0.2) {
    const y = scales.y(value);
    group.append(
      draw("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }),
      draw("text", { x: LEFT - 6, y: y + 5, "text-anchor": "end" }, value.toFixed(1)),
    );
  }
  group.append(draw("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: BOTTOM + 40, "text-anchor": "middle" }, "time of the prediction, UTC"));
  return group;
}

/** @param {number} time @param {number} span both in milliseconds */
function tick(time, span) {
  const text = new Date(time).toISOString();
  return span > 2 * 86_400_000 ? text.slice(5, 10) : text.slice(11, 16);
}

/** The middle of a point's interval. @param {HistoryPoint} point @param {History} history */
const middle = ({ start }, { interval_seconds: seconds }) => Date.parse(start) + 500 * seconds;

/** The mean confidence; the line breaks where an interval has no labels. @param {VersionHistory} version @param {number} index @param {History} history @param {Scales} scales */
function line({ points }, index, history, scales) {
  let pen = "M";
  let expected = 0;
  const steps = points.map((point) => {
    const { mean_confidence: confidence } = point;
    const at = middle(point, history);
    if (at > expected + 1) pen = "M";
    expected = at + 1000 * history.interval_seconds;
    const step = confidence === null ? "" : `${pen}${scales.x(at)} ${scales.y(confidence)}`;
    pen = confidence === null ? "M" : "L";
    return step;
  });
  return draw("path", { class: `version-${index}`, d: steps.join("") });
}

/** @param {VersionHistory} version @param {number} index @param {History} history @param {Scales} scales */
function dots({ model, points }, index, history, scales) {
  const group = draw("g", { class: `marks version-${index}` });
  for (const point of points) {
    const { accuracy, accuracy_interval: interval, mean_confidence: confidence, labelled } = point;
    if (accuracy === null || interval === null || confidence === null) continue;
    const x = scales.x(middle(point, history));
    group.append(
      draw(
        "g",
        {},
        draw("title", {}, `${model}, ${minute(point.start)}: accuracy ${probability(accuracy)}, confidence ${probability(confidence)}, ${counted(labelled, "label")}`),
        draw("line", { x1: x, x2: x, y1: scales.y(interval.low), y2: scales.y(interval.high) }),
        draw("path", { d: MARKERS[index], transform: `translate(${x} ${scales.y(accuracy)})` }),
      ),
    );
  }
  return group;
}

/** @param {Change} change @param {number} index @param {Scales} scales */
function mark({ time, text, kind }, index, scales) {
  const x = scales.x(time);
  const y = 14 + (index % ROWS) * 16;
  return draw(
    "g",
    { class: `change ${kind}` },
    draw("line", { x1: x, x2: x, y1: y + 4, y2: BOTTOM }),
    draw("text", { x: Math.min(x, WIDTH - RIGHT), y, "text-anchor": x > WIDTH / 2 ? "end" : "start" }, text),
  );
}

/** @param {VersionHistory[]} versions */
function legend(versions) {
  const entries = versions.map(({ model }, index) =>
    make(
      "li",
      {},
      draw(
        "svg",
        { class: "sample", viewBox: "-20 -8 40 16", "aria-hidden": "true" },
        draw("path", { class: `version-${index}`, d: "M-20 0H20" }),
        draw("g", { class: `marks version-${index}` }, draw("path", { d: MARKERS[index] })),
      ),
      model,
    ),
  );
  return make("ul", { class: "legend" }, ...entries);
}

/** @param {VersionHistory[]} versions @param {Change[]} changes */
function numbers(versions, changes) {
  const what = table("What changed", ["Time", "Change"], changes.map(({ time, text }) => [minute(time), text]));
  const tables = versions.map(({ model, points }) =>
    table(
      `Over time: ${model}`,
      ["From", "Predictions", "Labels", "Mean confidence", "Accuracy", "95 % interval"],
      points.map((point) => [
        minute(point.start),
        whole(point.predictions),
        whole(point.labelled),
        point.mean_confidence === null ? "" : probability(point.mean_confidence),
        point.accuracy === null ? "" : probability(point.accuracy),
        point.accuracy_interval === null ? "" : between(point.accuracy_interval),
      ]),
    ),
  );
  return changes.length ? [what, ...tables] : tables;
}

/** @param {number} value */
const round = (value) => Number(value.toFixed(2));
