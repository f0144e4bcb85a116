// @ts-check
// The effect of a threshold: coverage and selective risk on the calibration split and on live labels.

import { byId, draw, make, renew } from "./dom.js";
import { counted, percent, percentOrNone, whole } from "./numbers.js";
import { frame, picture } from "./plot.js";

/** @typedef {import("./contract.js").Cohort} Cohort */
/** @typedef {import("./contract.js").CurvePoint} CurvePoint */
/** @typedef {import("./plot.js").Scales} Scales */
/** @typedef {"coverage"|"selective_risk"} Quantity */

const HEIGHT = 200;
const STEP = 0.01;

/** @type {{model: string, threshold: number}|null} */
let moved = null; // last position of the slider

/** Show the curves of a cohort, or why there are none. @param {Cohort|null|undefined} cohort undefined if it is not known */
export function showThreshold(cohort) {
  const body = byId("threshold-body");
  const curves = cohort ? curvesOf(cohort) : [];
  if (!cohort || !curves.length) {
    renew(body, make("p", { class: "empty" }, reasonForNone(cohort)));
    return;
  }
  const { model, reference } = cohort;
  const published = reference?.abstention?.threshold ?? null;
  const slider = make("input", { type: "range", id: "threshold-slider", "data-keep": "threshold-slider", min: 0, max: 1, step: STEP });
  slider.value = String(moved?.model === model ? moved.threshold : (published ?? 0.5));
  const output = make("output", { for: "threshold-slider" });
  const rows = make("tbody");
  const plots = [plot(curves, "coverage", "coverage"), plot(curves, "selective_risk", "selective risk")];

  function move() {
    const threshold = slider.valueAsNumber;
    output.textContent = threshold.toFixed(2);
    rows.replaceChildren(...curves.map((curve) => row(curve, threshold)));
    for (const { mark } of plots) mark(threshold);
    slider.setAttribute("aria-valuetext", `${threshold.toFixed(2)}: ${inWords(curves, threshold)}`);
  }
  slider.addEventListener("input", () => {
    moved = { model, threshold: slider.valueAsNumber };
    move();
  });
  move();
  renew(
    body,
    make(
      "div",
      { class: "slider" },
      make("label", { for: "threshold-slider" }, `Threshold of ${model} `, output),
      slider,
      published === null ? null : make("p", { class: "hint" }, `Published threshold: ${published.toFixed(3)}.`),
    ),
    readings(rows),
    make("div", { class: "columns" }, ...plots.map(({ figure }) => figure)),
  );
}

/** @typedef {{name: string, style: string, points: CurvePoint[]}} Curve */

/** @param {Cohort} cohort @returns {Curve[]} */
function curvesOf(cohort) {
  const { reference, labelled } = cohort;
  return [
    ...(reference?.curve ? [{ name: "Calibration split", style: "reference", points: reference.curve }] : []),
    ...(labelled ? [{ name: "Live labels", style: "live", points: labelled.curve }] : []),
  ];
}

/** @param {Cohort|null|undefined} cohort */
function reasonForNone(cohort) {
  if (cohort === undefined) return "There is no report yet.";
  if (cohort === null) return "No answers in the window chosen above.";
  return `${cohort.model} was published without a curve of its calibration split, and there are no labels yet. Send feedback.`;
}

/** The point of a curve at a threshold; null if the curve has none there. @param {CurvePoint[]} points @param {number} threshold */
function at(points, threshold) {
  return points.find((point) => Math.abs(point.threshold - threshold) < STEP / 2) ?? null;
}

/** Coverage, selective risk and the number of answers, formatted for display. @param {Curve} curve @param {number} threshold */
function read({ points }, threshold) {
  const point = at(points, threshold);
  if (point === null) return ["not stored", "not stored", "not stored"];
  return [percent(point.coverage), percentOrNone(point.selective_risk), whole(point.answered)];
}

/** @param {Curve} curve @param {number} threshold */
function row(curve, threshold) {
  const cells = read(curve, threshold).map((text) => make("td", {}, text));
  return make("tr", {}, make("th", { scope: "row" }, sample(curve.style), curve.name), ...cells);
}

/** @param {Curve[]} curves @param {number} threshold */
function inWords(curves, threshold) {
  const sentences = curves.map((curve) => {
    const [coverage, risk] = read(curve, threshold);
    return `${curve.name}: coverage ${coverage}, selective risk ${risk}`;
  });
  return sentences.join("; ");
}

/** @param {HTMLTableSectionElement} rows */
function readings(rows) {
  const columns = ["", "Coverage", "Selective risk", "Answered"];
  const head = make("tr", {}, ...columns.map((name) => (name ? make("th", { scope: "col" }, name) : make("td"))));
  return make("table", { class: "readings" }, make("caption", {}, "At this threshold"), make("thead", {}, head), rows);
}

/**
 * Plot one quantity over the threshold: a line per curve and a movable mark.
 * @param {Curve[]} curves @param {Quantity} quantity @param {string} title
 */
function plot(curves, quantity, title) {
  const values = curves.flatMap(({ points }) => points.map((point) => point[quantity] ?? 0));
  const top = Math.max(0.2, Math.ceil(5 * Math.max(...values)) / 5);
  const { axes, scales, bottom } = frame({ height: HEIGHT, top, xTitle: "threshold", yTitle: title });
  const line = draw("line", { class: "now", y1: scales.y(top), y2: scales.y(0) });
  const dots = curves.map(({ style }) => draw("circle", { class: `dot ${style}`, r: 5 }));
  const paths = curves.map(({ style, points }) => draw("path", { class: style, d: path(points, quantity, scales) }));
  const shares = curves.map(({ name, points }) => `${name}, ${counted(points[0].answered, "answer")}`).join("; ");
  const figure = make(
    "figure",
    {},
    picture(`${title} over the threshold: ${shares}`, bottom + 48, axes, line, ...paths, ...dots),
  );

  /** @param {number} threshold */
  function mark(threshold) {
    const x = String(scales.x(threshold));
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    curves.forEach(({ points }, index) => {
      const value = at(points, threshold)?.[quantity] ?? null;
      dots[index].setAttribute("visibility", value === null ? "hidden" : "visible");
      dots[index].setAttribute("cx", x);
      dots[index].setAttribute("cy", String(scales.y(value ?? 0)));
    });
  }
  return { figure, mark };
}

/** A line through the points, with gaps where there is no value. @param {CurvePoint[]} points @param {Quantity} quantity @param {Scales} scales */
function path(points, quantity, scales) {
  let pen = "M";
  const steps = points.map((point) => {
    const value = point[quantity];
    const step = value === null ? "" : `${pen}${scales.x(point.threshold)} ${scales.y(value)}`;
    pen = value === null ? "M" : "L";
    return step;
  });
  return steps.join("");
}

/** The line of a curve, as the plots draw it. @param {string} style */
function sample(style) {
  return draw("svg", { class: "sample", viewBox: "0 0 28 10", "aria-hidden": "true" }, draw("path", { class: style, d: "M0 5L28 5" }));
}
