// @ts-check
// Requests to the API, with the key if one is set.

import { askForKey, currentKey } from "./key.js";

/** @typedef {import("./contract.js").Problem} Problem */

/** The API rejected a request, or could not be reached. */
export class ProblemError extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }

  /** Whether no answer of the service came: the connection failed, or a proxy answered for it. */
  get isUnreachable() {
    return this.problem.status === 0;
  }
}

/**
 * GET a path.
 * @param {string} path relative to the page, so that a path prefix works
 * @param {Record<string, string>} [query]
 * @returns {Promise<any>} the JSON of the response
 */
export function get(path, query = {}) {
  const parameters = new URLSearchParams(query).toString();
  return call(parameters ? `${path}?${parameters}` : path, { method: "GET" });
}

/**
 * POST a JSON body to a path.
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>} the JSON of the response
 */
export function post(path, body) {
  const headers = { "content-type": "application/json" };
  return call(path, { method: "POST", body: JSON.stringify(body), headers });
}

/** @param {string} path @param {RequestInit} request @returns {Promise<any>} */
async function call(path, request) {
  const key = currentKey();
  const response = await send(path, request, key);
  if (response.ok) return read(response);
  const problem = await readProblem(response);
  if (response.status !== 401) throw new ProblemError(problem);
  // Another request may have asked for a key in the meantime.
  const isNew = currentKey() !== key || (await askForKey(`${problem.title}: ${problem.detail}.`));
  if (!isNew) throw new ProblemError(problem);
  return call(path, request);
}

/** @param {string} path @param {RequestInit} request @param {string|null} key */
async function send(path, request, key) {
  const headers = new Headers(request.headers);
  if (key !== null) headers.set("authorization", `Bearer ${key}`);
  const url = new URL(path, document.baseURI);
  try {
    return await fetch(url, { ...request, headers, cache: "no-store", credentials: "omit" });
  } catch (error) {
    throw unreachable(error);
  }
}

/** The JSON of a response. Reading fails if the connection breaks or a proxy sent something else. @param {Response} response */
async function read(response) {
  try {
    return await response.json();
  } catch (error) {
    throw unreachable(error);
  }
}

/** @param {unknown} error */
function unreachable(error) {
  return new ProblemError({
    title: "The service cannot be reached",
    status: 0,
    detail: error instanceof Error ? error.message : String(error),
    request_id: null,
    errors: [],
  });
}

/** @param {Response} response @returns {Promise<Problem>} */
async function readProblem(response) {
  if (response.headers.get("content-type")?.startsWith("application/problem+json")) return read(response);
  // A proxy between the page and the service answered.
  const detail = `HTTP ${response.status} ${response.statusText}`.trim();
  if (response.status >= 502 && response.status <= 504) return unreachable(detail).problem;
  return { title: "A proxy answered", status: response.status, detail, request_id: null, errors: [] };
}
