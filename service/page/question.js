// @ts-check
// The form that asks a question.

import { endWaiting, showWaiting } from "./answer.js";
import { post } from "./api.js";
import { byId, make } from "./dom.js";
import { clearMarks, markFields, orShowProblem, problemBox } from "./problem.js";
import { asCurl, asPython, copy, copyable } from "./snippet.js";

/** @typedef {import("./contract.js").Answer} Answer */
/** @typedef {import("./contract.js").FieldError} FieldError */

const LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const FEWEST = 2;

/**
 * Set up the form.
 * @param {(answer: Answer, options: string[]) => void} onAnswer
 */
export function setUpQuestion(onAnswer) {
  const form = byId("question-form", HTMLFormElement);
  byId("question-curl").addEventListener("click", () => showSnippet(asCurl));
  byId("question-python").addEventListener("click", () => showSnippet(asPython));
  for (let index = 0; index < 4; index += 1) addOption();
  byId("option-add").addEventListener("click", () => addOption().focus());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const send = byId("question-send", HTMLButtonElement);
    if (send.getAttribute("aria-disabled") === "true") return;
    // One question at a time, else an older answer could arrive last. A button that is `disabled` loses the focus.
    send.setAttribute("aria-disabled", "true");
    await ask(form, onAnswer).finally(() => {
      send.removeAttribute("aria-disabled");
      endWaiting();
    });
  });
}

/** Offer versions, while others can be typed in. @param {string|null} standard the default model @param {string[]} references */
export function offerModels(standard, references) {
  byId("question-default").textContent = standard === null ? "empty: the default" : `empty: the default, ${standard}`;
  byId("references").replaceChildren(...references.map((reference) => make("option", { value: reference })));
}

/** @param {HTMLFormElement} form @param {(answer: Answer, options: string[]) => void} onAnswer */
async function ask(form, onAnswer) {
  const box = byId("answer");
  clearMarks(form);
  const errors = unreadable(form);
  if (errors.length) {
    const problem = { title: "A field cannot be read", status: 0, detail: "", request_id: null, errors };
    box.replaceChildren(problemBox(problem));
    markFields(form, problem);
    return;
  }
  const body = readQuestion();
  showWaiting();
  const answer = await orShowProblem(box, () => post("predict", body), (problem) => markFields(form, problem));
  if (answer) onAnswer(answer, body.options);
}

/** Show the question as a command or a program, and copy it. @param {(fields: [string, any][]) => string} write */
function showSnippet(write) {
  const text = write(Object.entries(readQuestion()).filter(([, value]) => value !== null));
  const shown = copyable(text, "pre");
  byId("question-snippet").replaceChildren(shown);
  copy(text, shown);
}

function readQuestion() {
  return {
    question: byId("question-text", HTMLTextAreaElement).value,
    options: optionInputs().map((input) => input.value),
    context: byId("question-context", HTMLTextAreaElement).value || null,
    model: byId("question-model", HTMLInputElement).value.trim() || null,
    abstain_below: numberOrNull(byId("question-threshold", HTMLInputElement)),
    coverage: numberOrNull(byId("question-coverage", HTMLInputElement)),
  };
}

/** @param {HTMLInputElement} input */
const numberOrNull = (input) => (input.value === "" ? null : input.valueAsNumber);

/** Number fields with invalid text, which the browser reports as empty. @param {HTMLFormElement} form @returns {FieldError[]} */
function unreadable(form) {
  const inputs = /** @type {HTMLInputElement[]} */ ([...form.querySelectorAll("input[type=number]")]);
  return inputs
    .filter((input) => input.validity.badInput)
    .map((input) => ({ field: input.dataset.field ?? "", message: "must be a number" }));
}

/** @returns {HTMLInputElement[]} */
const optionInputs = () => [...byId("options").querySelectorAll("input")];

/** Add a row and return its input. */
function addOption() {
  const input = make("input", { type: "text", autocomplete: "off" });
  const remove = make("button", { type: "button", class: "quiet" }, "Remove");
  const row = make("li", {}, make("label", {}), input, remove);
  remove.addEventListener("click", () => removeOption(row));
  byId("options").append(row);
  nameOptions();
  return input;
}

/** @param {HTMLLIElement} row */
function removeOption(row) {
  const neighbour = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  nameOptions();
  neighbour?.querySelector("input")?.focus();
}

/** Letter the rows in order. */
function nameOptions() {
  const rows = [...byId("options").children];
  rows.forEach((row, index) => {
    const [label, input, remove] = /** @type {[HTMLLabelElement, HTMLInputElement, HTMLButtonElement]} */ ([
      ...row.children,
    ]);
    input.id = `option-${index}`;
    input.dataset.field = `options.${index}`;
    label.htmlFor = input.id;
    label.replaceChildren(make("span", { class: "unseen" }, "Option "), LABELS[index]);
    remove.setAttribute("aria-label", `Remove option ${LABELS[index]}`);
    remove.disabled = rows.length <= FEWEST;
  });
  byId("option-add", HTMLButtonElement).disabled = rows.length >= LABELS.length;
}
