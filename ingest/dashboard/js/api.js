/**
 * The service's API: requests, errors, who may do what. Nothing else in the dashboard calls fetch.
 *
 * Every request ends by itself after TIMEOUT_MS, and earlier if its signal says so. An error that the service explains is an
 * ApiError with its sentence and hint; one that never reached it is status 0.
 */
import { decode } from "@msgpack/msgpack";
import { createStore } from "./store.js";

const TIMEOUT_MS = 60_000;

/** Who looks. `role`: write, read or admin; whoever needs no token is admin. The login page fills it. */
export const session = createStore(/** @type {{role: string, name: string, needsLogin: boolean}} */ ({ role: "admin", name: "local", needsLogin: false }));

/** Whether the last request reached the service. */
export const online = createStore(/** @type {boolean} */ (true));

/** Whether this session may change things: a read-only one is shown no button that would be refused. */
export const mayWrite = () => session.get().role !== "read";

export class ApiError extends Error {
  /**
   * @param {number} status 0 if no answer came
   * @param {{detail?: string, hint?: string, code?: string, column?: number, text?: string, position?: number | null, message?: string, error_code?: string}} problem
   */
  constructor(status, problem) {
    super(problem.detail ?? problem.message ?? `The service answered ${status}.`);
    this.status = status;
    this.code = problem.code ?? problem.error_code ?? "";
    this.hint = problem.hint ?? "";
    /** Of a filter: the column of the first character that could not be read, from 1. */
    this.column = problem.column;
    this.pointed = problem.text ?? "";
    /** Of SQL: the character where PostgreSQL stopped, from 1. */
    this.position = problem.position ?? null;
  }
}

/** @param {unknown} error */
export const wasAborted = (error) => error instanceof DOMException && error.name === "AbortError";

/** @typedef {{query?: Record<string, string | number | boolean | string[] | null | undefined>, signal?: AbortSignal, accept?: string, headers?: Record<string, string>}} Options */

/** @param {string} path @param {Options["query"]} [query] */
export function address(path, query) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (Array.isArray(value)) value.forEach((one) => search.append(name, one));
    else if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  return search.size ? `${path}?${search}` : path;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} body sent as JSON; a Blob as it is
 * @param {Options} options
 * @returns {Promise<Response>}
 */
export async function request(method, path, body, { query, signal, accept = "application/json", headers = {} } = {}) {
  const stop = AbortSignal.timeout(TIMEOUT_MS);
  /** @type {Response} */
  let answer;
  try {
    answer = await fetch(address(path, query), {
      method,
      signal: signal ? AbortSignal.any([signal, stop]) : stop,
      credentials: "same-origin",
      headers: { Accept: accept, ...(body === undefined || body instanceof Blob ? {} : { "Content-Type": "application/json" }), ...headers },
      body: body === undefined || body instanceof Blob ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw new DOMException("not needed any more", "AbortError");
    online.set(false);
    const detail = stop.aborted ? `The service did not answer within ${TIMEOUT_MS / 1000} s.` : "The service can't be reached.";
    throw new ApiError(0, { detail, hint: "it is tried again by itself", code: "unreachable" });
  }
  online.set(true);
  if (answer.ok) return answer;
  if (answer.status === 401) session.set({ ...session.get(), needsLogin: true });
  throw new ApiError(answer.status, await answer.json().catch(() => ({})));
}

/** @param {string} path @param {Options} [options] @returns {Promise<any>} */
export const get = async (path, options) => (await request("GET", path, undefined, options)).json();
/** @param {string} path @param {unknown} body @param {Options} [options] @returns {Promise<any>} */
export const post = async (path, body, options) => (await request("POST", path, body, options)).json();
/** @param {string} path @param {unknown} body @param {Options} [options] @returns {Promise<any>} */
export const patch = async (path, body, options) => (await request("PATCH", path, body, options)).json();
/** @param {string} path @param {Options} [options] */
export const remove = async (path, options) => void (await request("DELETE", path, undefined, options));

/**
 * A POST whose answer holds columns of numbers: msgpack, each column a typed array. int64 becomes float64, as charts draw.
 * @param {string} path @param {unknown} body @param {Options} [options] @returns {Promise<any>}
 */
export async function postForColumns(path, body, options) {
  const answer = await request("POST", path, body, { ...options, accept: "application/msgpack" });
  return unpackColumns(decode(new Uint8Array(await answer.arrayBuffer())));
}

/** @param {any} value @returns {any} */
function unpackColumns(value) {
  if (Array.isArray(value)) return value.map(unpackColumns);
  if (value === null || typeof value !== "object") return value;
  if (!value.dtypes) return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, unpackColumns(item)]));
  const columns = Object.fromEntries(Object.entries(value.columns).map(([name, bytes]) => [name, column(bytes, value.dtypes[name])]));
  return { ...value, columns };
}

/** @param {Uint8Array} bytes @param {string} dtype as numpy names it @returns {Float64Array} */
function column(bytes, dtype) {
  const own = bytes.slice().buffer; // typed arrays want their bytes aligned
  if (dtype === "<f8") return new Float64Array(own);
  if (dtype === "<i8") return fromInt64(own);
  throw new TypeError(`no column of ${dtype} was expected`);
}

/** By halves, as a BigInt for each number is ten times slower; exact up to 2⁵³, as a float64 is. @param {ArrayBuffer} own @returns {Float64Array} */
function fromInt64(own) {
  const [low, high] = [new Uint32Array(own), new Int32Array(own)]; // little-endian, as is every machine with a browser
  const out = new Float64Array(own.byteLength / 8);
  for (let i = 0; i < out.length; i++) out[i] = high[2 * i + 1] * 0x1_0000_0000 + low[2 * i];
  return out;
}
