// @ts-check
// Write predictions as a CSV file, and hand it to the browser as a download.

/** @typedef {import("./contract.js").StoredPrediction} StoredPrediction */

/** @type {[string, (prediction: StoredPrediction) => string|number|boolean|null][]} */
const COLUMNS = [
  ["prediction_id", (one) => one.prediction_id],
  ["created_at", (one) => one.created_at],
  ["tenant", (one) => one.tenant],
  ["model", (one) => one.model],
  ["task", (one) => one.task],
  ["option", (one) => one.option.label],
  ["confidence", (one) => one.confidence],
  ["feu", (one) => one.feu],
  ["abstain", (one) => one.abstain],
  ["abstain_reason", (one) => one.abstain_reason],
  ["threshold", (one) => one.threshold],
  ["tags", (one) => one.tags.join(" ")],
  ["label", (one) => one.label && one.label.option.label],
  ["correct", (one) => one.label && one.label.correct],
  ["label_source", (one) => one.label && one.label.source],
  ["labelled_at", (one) => one.label && one.label.labelled_at],
];

/** The text of a CSV file (RFC 4180). @param {StoredPrediction[]} predictions */
export function csvOf(predictions) {
  const rows = predictions.map((one) => COLUMNS.map(([, read]) => field(read(one))));
  return [COLUMNS.map(([name]) => name), ...rows].map((cells) => `${cells.join(",")}\r\n`).join("");
}

/** @param {StoredPrediction[]} predictions */
export function saveCsv(predictions) {
  const address = URL.createObjectURL(new Blob([csvOf(predictions)], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = "predictions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** A spreadsheet would run text that begins like a formula: an apostrophe keeps it text. @param {string|number|boolean|null} value */
function field(value) {
  if (value === null) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
