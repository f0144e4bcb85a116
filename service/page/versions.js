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
  model.replaceChildren(...offered.map((reference) => make("option", { value: reference }, reference)));
  model.value = wanted[0] || usual;
  beside.replaceChildren(make("option", { value: "" }, "none"), ...offered.map((reference) => make("option", { value: reference }, reference)));
  beside.value = wanted[1];
  return offered;
}

/** The one or two versions that are chosen. */
export function shownVersions() {
  const model = byId("calibration-model", HTMLSelectElement).value;
  const beside = byId("calibration-compare", HTMLSelectElement).value;
  return [...new Set([model, beside])].filter((reference) => reference !== "");
}
