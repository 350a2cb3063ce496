/** From the service's columns to what is drawn: line, band, smoothed line, places of values that are not finite. Pure. */

/**
 * @typedef {object} Curve
 * @property {import("./data.js").Line} line
 * @property {ArrayLike<number>} x
 * @property {(number | null)[]} y null breaks the line
 * @property {(number | null)[] | null} low null where there is no band
 * @property {(number | null)[] | null} high
 * @property {(number | null)[] | null} smooth
 * @property {number[]} marks x of values that are not finite
 * @property {number[]} [spikes] places of buckets with a value that stands out: their band alone would be too faint to see
 * @property {ArrayLike<number>} [from] where each bucket begins and ends
 * @property {ArrayLike<number>} [to]
 */

/**
 * @param {import("./data.js").Line} line
 * @param {{smooth: number, band: "minmax" | "std" | "none", logx: boolean, logy: boolean, isFolded?: boolean}} options isFolded: see `folded`
 * @returns {Curve}
 */
export function curveOf(line, { smooth, band, logx, logy, isFolded = false }) {
  const curve = isFolded && line.form === "points" ? folded(line) : { points: pointsCurve, buckets: bucketsCurve, aggregate: aggregateCurve }[line.form](line, band);
  if (smooth > 0) curve.smooth = smoothed(curve.y, smooth / 100);
  if (logy) for (const name of /** @type {const} */ (["y", "low", "high", "smooth"])) curve[name] = /** @type {any} */ (curve[name])?.map(positive) ?? null;
  const placed = logx ? fromPositiveX(curve) : curve;
  placed.spikes = line.form === "buckets" ? spikesOf(placed) : [];
  return placed;
}

const STANDS_OUT = 2; // times the usual distance of a bucket's extremes from its mean

/** Buckets whose least or greatest value is much further from the mean than those of the others. @param {Curve} curve @returns {number[]} */
function spikesOf({ y, low, high }) {
  if (!low || !high) return [];
  const reach = (/** @type {number} */ i) => (y[i] === null || high[i] === null ? 0 : Math.max(Number(high[i]) - Number(y[i]), low[i] === null ? 0 : Number(y[i]) - Number(low[i])));
  let sum = 0;
  for (let i = 0; i < y.length; i++) sum += reach(i);
  const most = (STANDS_OUT * sum) / y.length;
  const found = [];
  for (let i = 0; i < y.length; i++) if (reach(i) > most) found.push(i);
  return found;
}

/** @param {number | null} value */
const positive = (value) => (value !== null && value > 0 ? value : null);
/** @param {number} value */
const finite = (value) => (Number.isFinite(value) ? value : null);

/** @param {import("./data.js").Line} line @returns {Curve} */
function pointsCurve(line) {
  const { x, value } = line.columns;
  const marks = [];
  for (let i = 0; i < value.length; i++) if (!Number.isFinite(value[i])) marks.push(x[i]);
  return { line, x, y: Array.from(value, finite), low: null, high: null, smooth: null, marks };
}

/** Points of several ranks: their mean at each step, from the least to the greatest, as buckets show them. @param {import("./data.js").Line} line @returns {Curve} */
function folded(line) {
  const { x: xs, value } = line.columns;
  /** @type {number[]} */ const x = [];
  /** @type {(number | null)[]} */ const y = [];
  /** @type {(number | null)[]} */ const low = [];
  /** @type {(number | null)[]} */ const high = [];
  /** @type {number[]} */ const marks = [];
  for (let i = 0, end = 0; i < xs.length; i = end) {
    while (end < xs.length && xs[end] === xs[i]) end++;
    const own = Array.from(value.slice(i, end)).filter(Number.isFinite);
    if (own.length < end - i) marks.push(xs[i]);
    x.push(xs[i]);
    y.push(own.length ? own.reduce((sum, one) => sum + one, 0) / own.length : null);
    low.push(own.length ? Math.min(...own) : null);
    high.push(own.length ? Math.max(...own) : null);
  }
  return { line, x, y, low, high, smooth: null, marks };
}

/** A bucket stands in its middle at the mean of its finite values, from its least to its greatest. @param {import("./data.js").Line} line @returns {Curve} */
function bucketsCurve(line) {
  const { x_low, x_high, n, non_finite, sum, min, max } = line.columns;
  const size = n.length;
  const x = new Float64Array(size);
  /** @type {(number | null)[]} */ const y = new Array(size);
  /** @type {(number | null)[]} */ const low = new Array(size);
  /** @type {(number | null)[]} */ const high = new Array(size);
  const marks = [];
  for (let i = 0; i < size; i++) {
    x[i] = (x_low[i] + x_high[i]) / 2;
    const count = n[i] - non_finite[i];
    y[i] = count ? finite(sum[i] / count) : null;
    low[i] = count ? min[i] : null;
    high[i] = count ? max[i] : null;
    if (non_finite[i]) marks.push(x[i]);
  }
  return { line, x, y, low, high, smooth: null, marks, from: x_low, to: x_high };
}

/** @param {import("./data.js").Line} line @param {"minmax" | "std" | "none"} band @returns {Curve} */
function aggregateCurve(line, band) {
  const { first_step = new Float64Array(), last_step = first_step, mean = first_step, std = first_step, min = first_step, max = first_step } = line.columns;
  const x = first_step.map((first, i) => (first + last_step[i]) / 2);
  /** @param {Float64Array} extreme @param {number} sign */
  const edge = (extreme, sign) => (band === "none" ? null : Array.from(mean, (value, i) => finite(band === "std" ? value + sign * (std[i] || 0) : extreme[i])));
  return { line, x, y: Array.from(mean, finite), low: edge(min, -1), high: edge(max, 1), smooth: null, marks: [], from: first_step, to: last_step };
}

/**
 * Exponential average whose start is not drawn towards zero: the weights seen so far are divided out (Kingma and Ba, 2015, section 3).
 * @param {ArrayLike<number | null>} values
 * @param {number} weight of what was before, 0 … 1
 * @returns {(number | null)[]}
 */
export function smoothed(values, weight) {
  let total = 0;
  let seen = 0;
  return Array.from(values, (value) => {
    if (value === null) return null;
    total = weight * total + (1 - weight) * value;
    seen = weight * seen + (1 - weight);
    return total / seen;
  });
}

/** @param {Curve} curve @returns {Curve} */
function fromPositiveX(curve) {
  let start = 0;
  while (start < curve.x.length && !(curve.x[start] > 0)) start++;
  if (!start) return curve;
  /** @template T @param {T[] | null} column @returns {any} */
  const cut = (column) => column?.slice(start) ?? null;
  return { ...curve, x: Array.from(curve.x).slice(start), y: cut(curve.y), low: cut(curve.low), high: cut(curve.high), smooth: cut(curve.smooth), from: curve.from && Array.from(curve.from).slice(start), to: curve.to && Array.from(curve.to).slice(start) };
}

/**
 * The range of y that leaves out the outermost values: between the 2nd and the 98th percentile of what is drawn, and some room.
 * @param {Curve[]} curves
 * @param {boolean} isLog
 * @returns {[number, number] | null}
 */
export function clippedRange(curves, isLog) {
  const values = curves.flatMap(({ y }) => y.filter((/** @type {number | null} */ one) => one !== null)).sort((a, b) => Number(a) - Number(b));
  if (values.length < 10) return null;
  const [low, high] = [Number(values[Math.floor(values.length * 0.02)]), Number(values[Math.ceil(values.length * 0.98) - 1])];
  if (isLog) return [low / 1.3, high * 1.3];
  const room = (high - low) * 0.1 || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}
