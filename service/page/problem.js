// @ts-check
// Show problem documents, and mark the fields that they name.

import { ProblemError } from "./api.js";
import { make, renew } from "./dom.js";

/** @typedef {import("./contract.js").Problem} Problem */

/**
 * Run a call to the API; if it fails with a problem, show the problem in `box`.
 * @template T
 * @param {HTMLElement} box
 * @param {() => Promise<T>} work
 * @param {(problem: Problem) => void} [mark] called with the problem, to mark its fields
 * @param {() => boolean} [isWanted] whether the result is still needed
 * @returns {Promise<T|null>} null if there was a problem
 */
export async function orShowProblem(box, work, mark = () => {}, isWanted = () => true) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    if (isWanted()) {
      box.replaceChildren(problemBox(error.problem));
      mark(error.problem);
    }
    return null;
  }
}

/**
 * Load a part of the page again; if the service says why it cannot, show that in `box`.
 * @template T
 * @param {HTMLElement} box
 * @param {() => Promise<T>} work
 * @returns {Promise<T|null>} null if there was a problem
 * @throws {ProblemError} the service cannot be reached: what is shown stays
 */
export async function loadPart(box, work) {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ProblemError) || error.isUnreachable) throw error;
    renew(box, problemBox(error.problem));
    return null;
  }
}

/** @param {Problem} problem */
export function problemBox(problem) {
  const errors = problem.errors.map(({ field, message }) => make("li", {}, make("code", {}, field), ` ${message}`));
  return make(
    "div",
    { class: "problem", role: "alert" },
    make("h3", {}, problem.title),
    // The detail of an invalid field repeats the list.
    errors.length ? make("ul", {}, ...errors) : make("p", {}, problem.detail),
    problem.request_id
      ? make("p", { class: "hint" }, `Status ${problem.status}, request ${problem.request_id}`)
      : null,
  );
}

/** Mark the fields of a form that a problem names; the first gets the focus. @param {HTMLElement} form @param {Problem} problem */
export function markFields(form, problem) {
  const marked = problem.errors.map(({ field, message }, index) => {
    const control = controlOf(form, field);
    if (control) markField(control, message, `${form.id}-error-${index}`);
    return control;
  });
  marked.find((control) => control !== null)?.focus();
}

/** Remove the marks. @param {HTMLElement} form */
export function clearMarks(form) {
  for (const note of form.querySelectorAll(".field-error")) note.remove();
  for (const control of form.querySelectorAll("[aria-invalid]")) {
    control.removeAttribute("aria-invalid");
    control.removeAttribute("aria-describedby");
  }
}

/** The control of a field such as `options.1`, or of the part before its last dot. @param {HTMLElement} form @param {string} field @returns {HTMLElement|null} */
function controlOf(form, field) {
  const controls = /** @type {HTMLElement[]} */ ([...form.querySelectorAll("[data-field]")]);
  const found = controls.find((control) => control.dataset.field === field);
  if (found) return found;
  const dot = field.lastIndexOf(".");
  return dot < 0 ? null : controlOf(form, field.slice(0, dot));
}

/** @param {HTMLElement} control @param {string} message @param {string} id */
function markField(control, message, id) {
  control.setAttribute("aria-invalid", "true");
  control.setAttribute("aria-describedby", id);
  const note = make("p", { class: "field-error", id }, message);
  if (control instanceof HTMLFieldSetElement) control.append(note);
  else control.parentElement?.append(note);
}
