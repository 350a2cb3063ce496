/**
 * Fetches what charts draw. Charts that appear together ask in one request; one that nobody waits for any more is aborted.
 *
 * An answer is one line: a series of one run (or of one rank of it), or the aggregate of a group of runs.
 */
import { postForColumns } from "../api.js";

/**
 * @typedef {object} Line
 * @property {string} id run id, run id and rank, or the group's name
 * @property {"points" | "buckets" | "aggregate"} form
 * @property {string} told what the legend says
 * @property {number} n points behind the line
 * @property {number} unplaced points without a place on x, if x is a metric
 * @property {Record<string, Float64Array>} columns
 *
 * @typedef {object} Question
 * @property {string} key
 * @property {string[]} runs
 * @property {string} x as the API takes it: step, time, relative, metric:KEY
 * @property {number | null} from
 * @property {number | null} to
 * @property {number} buckets
 * @property {number | null} [rank]
 */

/** Columns that are drawn, of thirteen. */
const COLUMNS = ["x", "step", "value", "x_low", "x_high", "n", "non_finite", "sum", "min", "max", "last"];
/** Charts of one request: the first ones are drawn while the service works on the next. */
const MOST_KEYS = 4;
/** Requests on their way: the service works on all at once, so with more the first answer would come with the last. */
const MOST_ASKED = 2;

/** @typedef {{question: Question, signal: AbortSignal, resolve: (lines: Line[]) => void, reject: (error: unknown) => void}} Waiting */
/** @type {Waiting[]} */
let waiting = [];
/** @type {Waiting[][]} */
let queued = [];
let asked = 0;
let urgent = "";
let isHurrying = false; // the urgent request is on its way, alone

/** The chart that somebody has just turned to is asked for first, and alone. @param {string} key */
export const hurry = (key) => void (urgent = key);

/**
 * The lines of one metric.
 * @param {Question} question
 * @param {AbortSignal} signal
 * @returns {Promise<Line[]>} one for each run that has the metric
 */
export function fetchLines(question, signal) {
  return new Promise((resolve, reject) => {
    const isUrgent = question.key === urgent;
    if (!waiting.length && !isUrgent) queueMicrotask(send);
    waiting.push({ question, signal, resolve, reject });
    if (isUrgent) send();
  });
}

function send() {
  /** @type {Map<string, Waiting[]>} */
  const alike = new Map();
  for (const one of waiting) {
    const { key, ...options } = one.question;
    const same = JSON.stringify([options, key === urgent]);
    alike.set(same, [...(alike.get(same) ?? []), one]);
  }
  waiting = [];
  for (const group of alike.values()) {
    if (group[0].question.key === urgent) void alone(group);
    else for (let i = 0; i < group.length; i += MOST_KEYS) queued.push(group.slice(i, i + MOST_KEYS));
  }
  urgent = "";
  next();
}

/** @param {Waiting[]} group */
async function alone(group) {
  isHurrying = true;
  await ask(group);
  isHurrying = false;
  next();
}

/** As many of the queued requests as may be on their way. */
function next() {
  while (!isHurrying && asked < MOST_ASKED && queued.length) {
    const group = queued.shift() ?? [];
    const wanted = group.filter(({ signal }) => !signal.aborted);
    for (const { signal, reject } of group) if (signal.aborted) reject(signal.reason);
    if (!wanted.length) continue;
    asked++;
    void ask(wanted).finally(() => (asked--, next()));
  }
}

/** @param {Waiting[]} group of the same runs and options */
async function ask(group) {
  const { runs, x, from, to, buckets, rank } = group[0].question;
  const stop = new AbortController();
  let left = group.length;
  for (const { signal } of group) signal.addEventListener("abort", () => --left === 0 && stop.abort(), { once: true });
  const body = { runs, keys: group.map((one) => one.question.key), x, buckets, columns: COLUMNS, ...bounds(from, to), ...(rank === null || rank === undefined ? {} : { rank: [rank] }) };
  try {
    const { series } = await postForColumns("/api/v1/series/query", body, { signal: stop.signal });
    for (const { question, resolve } of group) {
      const own = series.filter((/** @type {any} */ one) => one.key === question.key);
      resolve(own.map((/** @type {any} */ one) => ({ ...one, id: one.run_id, unplaced: one.unplaced ?? 0 })));
    }
  } catch (error) {
    for (const { reject } of group) reject(error);
  }
}

/**
 * Mean, deviation, least and greatest of a group of runs, by step.
 * @param {string} name
 * @param {Question} question
 * @param {AbortSignal} signal
 * @returns {Promise<Line>}
 */
export async function fetchAggregate(name, { key, runs, from, to, buckets }, signal) {
  const answer = await postForColumns("/api/v1/series/aggregate", { key, runs, buckets, ...bounds(from, to) }, { signal });
  const size = answer.columns.mean?.length ?? 0;
  const told = `${answer.runs} runs, ${answer.n.toLocaleString("en-US")} points in ${size.toLocaleString("en-US")} buckets`;
  return { id: name, form: "aggregate", told, n: answer.n, unplaced: 0, columns: answer.columns };
}

/** @param {number | null} from @param {number | null} to */
const bounds = (from, to) => ({ ...(from === null ? {} : { from }), ...(to === null ? {} : { to }) });
