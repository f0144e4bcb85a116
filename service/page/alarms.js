// @ts-check
// The alarms of all versions, whatever version and window are shown.

import { byId, make, renew } from "./dom.js";
import { counted, minute } from "./numbers.js";

/** @typedef {import("./contract.js").Alarm} Alarm */

const MEANINGS = /** @type {Record<string, string>} */ ({
  overconfident: "is overconfident: its confidence is higher than its accuracy",
  underconfident: "is underconfident: its confidence is lower than its accuracy",
  error_rate: "makes more errors than on its calibration split",
});

const SHOWN = 5; // the others are folded, so that the first screen keeps its place

/** List the alarms, the latest first. @param {Alarm[]} alarms */
export function showAlarms(alarms) {
  byId("alarms").hidden = alarms.length === 0;
  renew(byId("alarms-list"), ...alarms.slice(0, SHOWN).map(item));
  const others = alarms.slice(SHOWN).map(item);
  const fold = make("details", { "data-keep": "alarms" }, make("summary", {}, `${others.length} earlier alarms`), make("ul", {}, ...others));
  renew(byId("alarms-more"), others.length ? fold : null);
}

/** @param {Alarm} alarm */
function item({ model, test, alarmed_at: time, labels }) {
  const since = ` (since ${minute(time)}; ${counted(labels, "label")} by now).`;
  const what = make("a", { href: "runbook#sequentialalarm", "data-keep": `alarm ${model} ${test}` }, "What to do");
  return make("li", {}, make("strong", {}, model), ` ${MEANINGS[test]}${since} `, what);
}
