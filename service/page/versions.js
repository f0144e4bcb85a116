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
  const model = byId("calibration-model", HTMLSelectElement);
  const beside = byId("calibration-compare", HTMLSelectElement);
  const known = [...references, chosen("model"), chosen("compare"), standard ?? ""].filter((reference) => reference !== "");
  const offered = [...new Set(known)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  offer(model, offered);
  model.value = chosen("model") || standard || (offered[0] ?? "");
  offer(beside, ["", ...offered]);
  beside.value = chosen("compare");
  return offered;
}

/** Replace the options only if they are others: somebody may be choosing. @param {HTMLSelectElement} select @param {string[]} values */
function offer(select, values) {
  if ([...select.options].map(({ value }) => value).join() === values.join()) return;
  select.replaceChildren(...values.map((value) => make("option", { value }, value || "none")));
}

/** The one or two versions that are chosen. */
export function shownVersions() {
  const model = byId("calibration-model", HTMLSelectElement).value;
  const beside = byId("calibration-compare", HTMLSelectElement).value;
  return [...new Set([model, beside])].filter((reference) => reference !== "");
}
