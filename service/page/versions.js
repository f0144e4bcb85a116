// @ts-check
// The version whose calibration is shown, and the one beside it.

import { byId, make } from "./dom.js";
import { chosen } from "./state.js";

/**
 * Offer versions in both selects and keep what is chosen: by the address, by hand, or the default model.
 * @param {string[]} references @param {string|null} standard the default model
 * @returns {string[]} everything that is offered
 */
export function offerVersions(references, standard) {
  const selects = [byId("calibration-model", HTMLSelectElement), byId("calibration-compare", HTMLSelectElement)];
  const wanted = [chosen("model"), chosen("compare")];
  const known = [...references, ...wanted, ...(standard === null ? [] : [standard])].filter((reference) => reference !== "");
  const offered = [...new Set(known)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const [model, beside] = selects;
  const usual = standard ?? offered[0] ?? "";
  offer(model, offered);
  model.value = wanted[0] || usual;
  offer(beside, ["", ...offered]);
  beside.value = wanted[1];
  return offered;
}

/** Replace the options only if they are others: somebody may be choosing. @param {HTMLSelectElement} select @param {string[]} values */
function offer(select, values) {
  if ([...select.options].map(({ value }) => value).join() === values.join() && select.options.length) return;
  select.replaceChildren(...values.map((value) => make("option", { value }, value || "none")));
}

/** The one or two versions that are chosen. */
export function shownVersions() {
  const model = byId("calibration-model", HTMLSelectElement).value;
  const beside = byId("calibration-compare", HTMLSelectElement).value;
  return [...new Set([model, beside])].filter((reference) => reference !== "");
}
