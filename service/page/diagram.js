// @ts-check
// The reliability diagram: accuracy over confidence by bin, and the number of predictions per bin below it.

import { draw, make, table } from "./dom.js";
import { between, counted, probability, whole } from "./numbers.js";
import { frame, picture } from "./plot.js";

/** @typedef {import("./contract.js").Bin} Bin */

const SQUARE = 350;
const STRIP = 60;

/** @param {Bin[]} bins @param {string} model */
export function reliabilityDiagram(bins, model) {
  const { axes, scales, bottom } = frame({ height: SQUARE, top: 1, xTitle: "confidence", yTitle: "accuracy" });
  const filled = bins.filter((bin) => bin.labelled > 0);
  const diagonal = draw("line", {
    class: "diagonal", x1: scales.x(0), y1: scales.y(0), x2: scales.x(1), y2: scales.y(1),
  });
  const most = Math.max(...bins.map((bin) => bin.predictions));
  const stripTop = bottom + 58;
  return make(
    "figure",
    { class: "reliability" },
    picture(
      `Reliability diagram of ${model}: ${counted(filled.length, "bin")} with labels; the table below has the numbers`,
      stripTop + STRIP + 24,
      axes,
      diagonal,
      ...filled.map((bin) => point(bin, scales)),
      ...bins.map((bin) => column(bin, most, scales, stripTop)),
      draw("text", { x: scales.x(0.5), y: stripTop + STRIP + 18, "text-anchor": "middle" }, "predictions by confidence"),
    ),
    make(
      "figcaption",
      {},
      "Points on the dashed line are calibrated; points below it are overconfident. Vertical lines are 95 % intervals " +
        "of the accuracy. Columns show all predictions; the filled part has labels.",
    ),
    make("details", { "data-keep": `bins of ${model}` }, make("summary", {}, "The bins in numbers"), binTable(filled, model)),
  );
}

/** @param {Bin} bin @param {import("./plot.js").Scales} scales */
function point(bin, scales) {
  const { mean_confidence: confidence, accuracy, accuracy_interval: interval } = bin;
  if (confidence === null || accuracy === null) throw new TypeError("a bin with labels must have a mean confidence and an accuracy");
  const x = scales.x(confidence);
  return draw(
    "g",
    { class: "point" },
    draw("title", {}, `confidence ${probability(confidence)}, accuracy ${probability(accuracy)}, ${counted(bin.labelled, "label")}`),
    interval && draw("line", { x1: x, x2: x, y1: scales.y(interval.low), y2: scales.y(interval.high) }),
    draw("circle", { cx: x, cy: scales.y(accuracy), r: 5 }),
  );
}

/** @param {Bin} bin @param {number} most @param {import("./plot.js").Scales} scales @param {number} top */
function column(bin, most, scales, top) {
  const height = (/** @type {number} */ count) => (STRIP * count) / most;
  const bar = (/** @type {string} */ name, /** @type {number} */ count) =>
    draw("rect", {
      class: name,
      x: scales.x(bin.low) + 1,
      width: scales.x(bin.high) - scales.x(bin.low) - 2,
      y: top + STRIP - height(count),
      height: height(count),
    });
  return draw(
    "g",
    { class: "column" },
    draw("title", {}, `${range(bin)}: ${counted(bin.predictions, "prediction")}, ${counted(bin.labelled, "label")}`),
    bar("all", bin.predictions),
    bar("labelled", bin.labelled),
  );
}

/** @param {Bin[]} bins @param {string} model */
function binTable(bins, model) {
  return table(
    `Bins of ${model} with labels`,
    ["Confidence", "Predictions", "Labels", "Mean confidence", "Accuracy", "95 % interval"],
    bins.map((bin) => [
      range(bin),
      whole(bin.predictions),
      whole(bin.labelled),
      bin.mean_confidence === null ? "" : probability(bin.mean_confidence),
      bin.accuracy === null ? "" : probability(bin.accuracy),
      bin.accuracy_interval === null ? "" : between(bin.accuracy_interval),
    ]),
  );
}

/** @param {Bin} bin */
const range = (bin) => between(bin, (value) => value.toFixed(2));
