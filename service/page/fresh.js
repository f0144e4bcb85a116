// @ts-check
// Load the page again and again: every half minute while it is seen, and with growing pauses while no answer comes.

import { ProblemError } from "./api.js";
import { announce, byId } from "./dom.js";
import { clock } from "./numbers.js";

const PERIOD = 30_000; // milliseconds
const FIRST_PAUSE = 2000;
const LONGEST_PAUSE = 60_000;

/** @typedef {(isWanted: () => boolean) => Promise<boolean>} Load returns whether it got something, so that it is worth while to load again */

/** @type {Date|null} */
let lastGood = null;
/** @type {number|undefined} */
let timer;
let failures = 0;
let latest = 0; // number of the latest round: a slow response must not replace a later one
let isPaused = false;

/** Set up the buttons and begin. @param {Load} load @returns {() => Promise<void>} loads everything now */
export function keepFresh(load) {
  const refresh = () => round(load);
  byId("refresh").addEventListener("click", async () => {
    await refresh();
    if (failures === 0) announce("Everything is up to date");
  });
  byId("banner-retry").addEventListener("click", refresh);
  byId("pause").addEventListener("click", () => {
    isPaused = !isPaused;
    byId("pause").setAttribute("aria-pressed", String(isPaused));
    showTime();
    if (isPaused) clearTimeout(timer);
    else refresh();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !isPaused) refresh();
  });
  return refresh;
}

/** @param {Load} load */
async function round(load) {
  clearTimeout(timer);
  latest += 1;
  const mine = latest;
  let again = false;
  try {
    again = await load(() => mine === latest);
    if (mine !== latest) return;
    if (again) lastGood = new Date();
    showReached();
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    if (mine !== latest) return;
    again = true;
    showUnreached(error);
  }
  document.body.classList.remove("loading");
  showTime();
  const pause = failures ? Math.min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE) : PERIOD;
  if (again && !isPaused && !document.hidden) timer = setTimeout(() => round(load), pause);
}

function showReached() {
  if (failures) announce("The service can be reached again");
  failures = 0;
  byId("banner").hidden = true;
  document.body.classList.remove("stale");
}

/** @param {ProblemError} error */
function showUnreached(error) {
  failures += 1;
  const shown = lastGood ? `What is shown is of ${clock(lastGood)}.` : "Nothing has been loaded yet.";
  const text = `The service cannot be reached: ${error.problem.detail}. ${shown} The page tries again by itself.`;
  if (byId("banner-text").textContent !== text) byId("banner-text").textContent = text;
  byId("banner").hidden = false;
  document.body.classList.add("stale");
  for (const empty of document.querySelectorAll("main .empty")) {
    if (empty.textContent === "Loading") empty.textContent = "Not loaded yet.";
  }
}

function showTime() {
  const time = lastGood ? `As of ${clock(lastGood)}` : "Not loaded yet";
  byId("as-of").textContent = isPaused ? `${time}, paused` : time;
}
