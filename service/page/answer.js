// @ts-check
// One answer: the option, its confidence, and buttons to report the correct option.

import { post } from "./api.js";
import { announce, byId, facts, make } from "./dom.js";
import { decimal, percent, probability } from "./numbers.js";
import { orShowProblem } from "./problem.js";

/** @typedef {import("./contract.js").Answer} Answer */

const FEU =
  "Functional uncertainty: the share of routing mass on the chosen experts. High: the routers are confident. " +
  "Low: the question is unlike what the experts were trained on.";

const TO_TAKE_BACK = 5000; // milliseconds

/** Remove the previous answer while the next one is computed. */
export function showWaiting() {
  const box = byId("answer");
  box.setAttribute("aria-busy", "true");
  box.replaceChildren(make("p", { class: "empty" }, "Waiting for the answer"));
}

/** Say that the answer or the reason why there is none has arrived. */
export function endWaiting() {
  byId("answer").removeAttribute("aria-busy");
}

/**
 * Show an answer in place of the previous one.
 * @param {Answer} answer
 * @param {string[]} options the texts of the options, as sent
 * @param {() => void} onLabelled called after a label is stored
 */
export function showAnswer(answer, options, onLabelled) {
  byId("answer").replaceChildren(
    make("p", { class: "chosen" }, make("span", { class: "letter" }, answer.option.label), ` ${answer.option.text}`),
    decision(answer),
    bars(answer, options),
    facts(numbers(answer)),
    feedback(answer, options, onLabelled),
  );
  const abstains = answer.abstain ? ", but the model abstains" : "";
  announce(`Answer ${answer.option.label}, ${answer.option.text}, confidence ${percent(answer.confidence)}${abstains}`);
}

/** @param {Answer} answer */
function decision(answer) {
  if (!answer.abstain) {
    const { threshold } = answer;
    const reason = threshold === null ? "no threshold is set" : `the threshold is ${decimal(threshold)}`;
    return make("p", { class: "decision" }, `Answered with confidence ${probability(answer.confidence)}; ${reason}.`);
  }
  return make("p", { class: "decision abstains" }, make("strong", {}, "Abstains. "), reasonToAbstain(answer));
}

/** @param {Answer} answer */
function reasonToAbstain(answer) {
  const { confidence, threshold, prediction_set: set } = answer;
  if (answer.abstain_reason === "set_too_large") {
    return `${set?.length} options remain possible, more than the model's limit. Do not act on this answer.`;
  }
  const limit = threshold === null ? "" : ` ${decimal(threshold)}`;
  return `Confidence ${probability(confidence)} is below the threshold${limit}. Do not act on this answer.`;
}

/** @param {Answer} answer @param {string[]} options */
function bars(answer, options) {
  const rows = answer.probabilities.map(({ label, probability }, index) => {
    const fill = make("div", { class: "fill" });
    fill.style.width = `${100 * probability}%`;
    const marks = [
      index === answer.option.index ? "chosen" : null,
      answer.prediction_set?.includes(label) ? "in the set" : null,
    ].filter((mark) => mark !== null);
    return make(
      "li",
      { class: index === answer.option.index ? "is-chosen" : null },
      make("span", { class: "letter" }, label),
      make("span", { class: "text" }, options[index], make("span", { class: "hint" }, ` ${marks.join(", ")}`)),
      make("span", { class: "share" }, percent(probability)),
      make("div", { class: "bar", "aria-hidden": "true" }, fill),
    );
  });
  return make("ol", { class: "bars", "aria-label": "Probabilities of the options" }, ...rows);
}

/** @param {Answer} answer @returns {[string, string, (string|null)?][]} */
function numbers(answer) {
  const { total, aleatoric, epistemic, error_score: error } = answer.uncertainty;
  const set = answer.prediction_set;
  const parts =
    aleatoric === null || epistemic === null
      ? "Entropy of the probabilities. A single pass cannot separate its aleatoric and epistemic parts."
      : `${decimal(aleatoric)} from the data (aleatoric) and ${decimal(epistemic)} from the model (epistemic).`;
  const meaning = `Specific to ${answer.method}. High: the answer is likely wrong.`;
  const held = answer.coverage === null ? null : percent(answer.coverage);
  return [
    ["Confidence", probability(answer.confidence), "Probability of the chosen option."],
    ["FEU", answer.feu === null ? "none" : decimal(answer.feu), answer.feu === null ? "This method has no routers." : FEU],
    [
      "Prediction set",
      set === null ? "none" : set.length ? set.join(", ") : "empty",
      set === null ? "The model was published without prediction sets." : `Contains the right option with probability ${held}.`,
    ],
    ["Uncertainty", `${decimal(total)} nats`, parts],
    .../** @type {[string, string, string][]} */ (error === null ? [] : [["Error score", decimal(error), meaning]]),
    ["Answered by", `${answer.model}, ${answer.method}`, `Prediction ${answer.prediction_id}`],
  ];
}

/** @param {Answer} answer @param {string[]} options @param {() => void} onLabelled */
function feedback(answer, options, onLabelled) {
  const result = make("div", { class: "result", tabindex: -1 });
  const buttons = options.map((text, index) => {
    const { label } = answer.probabilities[index];
    const button = make("button", { type: "button", class: "quiet" }, make("b", {}, label), ` ${text}`);
    button.addEventListener("click", () => tell(button, index));
    return button;
  });

  /** Wait a moment in which the label can be taken back: a stored label is final. @param {HTMLButtonElement} pressed @param {number} index */
  function tell(pressed, index) {
    for (const button of buttons) button.disabled = true;
    const { label } = answer.probabilities[index];
    const undo = make("button", { type: "button", class: "quiet" }, "Undo");
    const now = make("button", { type: "button", class: "quiet" }, "Store now");
    const timer = setTimeout(() => store(pressed, index), TO_TAKE_BACK);
    undo.addEventListener("click", () => {
      clearTimeout(timer);
      result.replaceChildren();
      for (const button of buttons) button.disabled = false;
      pressed.focus();
      announce("Not stored");
    });
    now.addEventListener("click", () => {
      clearTimeout(timer);
      store(pressed, index);
    });
    result.replaceChildren(
      make("p", {}, `${label} will be stored as the right option in ${TO_TAKE_BACK / 1000} seconds.`),
      make("div", { class: "buttons" }, undo, now),
    );
    undo.focus();
    announce(`${label} will be stored in ${TO_TAKE_BACK / 1000} seconds`);
  }

  /** @param {HTMLButtonElement} pressed @param {number} index */
  async function store(pressed, index) {
    const hadFocus = result.contains(document.activeElement);
    result.replaceChildren(make("p", {}, "Storing"));
    const body = { prediction_id: answer.prediction_id, answer: index, source: "operator's page" };
    const stored = await orShowProblem(result, () => post("feedback", body));
    if (stored === null) {
      for (const button of buttons) button.disabled = false;
      if (hadFocus) pressed.focus();
      return;
    }
    pressed.classList.add("told");
    const was = index === answer.option.index ? "The answer was right." : "The answer was wrong.";
    result.replaceChildren(make("p", {}, `Stored. ${was} The calibration above now includes it.`));
    announce(`Stored. ${was}`);
    if (hadFocus) result.focus(); // the buttons are gone
    onLabelled();
  }

  return make(
    "fieldset",
    { class: "feedback" },
    make("legend", {}, "Which option is correct?"),
    make("div", { class: "buttons" }, ...buttons),
    result,
  );
}
