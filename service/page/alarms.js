// @ts-check
// The alarms of all versions, whatever version and window are shown.

import { byId, make } from "./dom.js";
import { counted, minute } from "./numbers.js";

/** @typedef {import("./contract.js").Alarm} Alarm */

const MEANINGS = /** @type {Record<string, string>} */ ({
  overconfident: "is overconfident: its confidence is higher than its accuracy",
  underconfident: "is underconfident: its confidence is lower than its accuracy",
  error_rate: "makes more errors than on its calibration split",
});

/** List the alarms, the latest first. @param {Alarm[]} alarms */
export function showAlarms(alarms) {
  byId("alarms").hidden = alarms.length === 0;
  byId("alarms-list").replaceChildren(...alarms.map(item));
}

/** @param {Alarm} alarm */
function item({ model, test, alarmed_at: time, labels }) {
  const since = ` (since ${minute(time)}; ${counted(labels, "label")} by now).`;
  const what = make("a", { href: "runbook#sequentialalarm" }, "What to do");
  return make("li", {}, make("strong", {}, model), ` ${MEANINGS[test]}${since} `, what);
}
