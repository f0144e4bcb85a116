// @ts-check
// Shared by the diagrams: a frame with two axes and its scales.

import { draw } from "./dom.js";

/** @typedef {{x: (value: number) => number, y: (value: number) => number}} Scales map values to drawing units */

export const WIDTH = 420;
const LEFT = 66;
const RIGHT = 14;
const TOP = 12;

/**
 * Draw a frame whose x axis is 0..1 and whose y axis is 0..`top`.
 * @param {{height: number, top: number, xTitle: string, yTitle: string}} shape height of the plotted area
 * @returns {{axes: SVGGElement, scales: Scales, bottom: number}}
 */
export function frame({ height, top, xTitle, yTitle }) {
  const right = WIDTH - RIGHT;
  const bottom = TOP + height;
  const scales = {
    x: (/** @type {number} */ value) => round(LEFT + value * (right - LEFT)),
    y: (/** @type {number} */ value) => round(bottom - (value / top) * height),
  };
  const axes = draw("g", { class: "axes" });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const [x, y] = [scales.x(share), scales.y(share * top)];
    axes.append(
      draw("line", { x1: x, x2: x, y1: TOP, y2: bottom }),
      draw("line", { x1: LEFT, x2: right, y1: y, y2: y }),
      draw("text", { x, y: bottom + 18, "text-anchor": "middle" }, tick(share)),
      draw("text", { x: LEFT - 6, y: y + 5, "text-anchor": "end" }, tick(share * top)),
    );
  }
  const middle = TOP + height / 2;
  axes.append(
    draw("text", { x: (LEFT + right) / 2, y: bottom + 38, "text-anchor": "middle" }, xTitle),
    draw("text", { x: 16, y: middle, "text-anchor": "middle", transform: `rotate(-90 16 ${middle})` }, yTitle),
  );
  return { axes, scales, bottom };
}

/**
 * An SVG image with a name for screen readers.
 * @param {string} name
 * @param {number} height
 * @param {...SVGElement} parts
 */
export function picture(name, height, ...parts) {
  return draw("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": name }, ...parts);
}

/** @param {number} value */
const tick = (value) => String(Number(value.toFixed(3)));

/** @param {number} value */
const round = (value) => Number(value.toFixed(2));
