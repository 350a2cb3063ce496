/** What a comparison of runs amounts to: rows of differences, and numbers by field for the plots. Pure. */

/**
 * @typedef {object} Comparison as POST /api/v1/runs/compare gives it; each list has one entry for each run
 * @property {any[]} runs
 * @property {Record<string, (string | null)[]>} params
 * @property {Record<string, (string | null)[]>} tags
 * @property {Record<string, Record<string, (number | string | null)[]>>} metrics
 *
 * @typedef {{id: string, label: string, kind: "param" | "metric", values: (number | string | null)[], isNumeric: boolean}} Field
 */

const ENVIRONMENT = /^(ingest\.env\.|mlflow\.source\.|mlflow\.user$)/;
const HIDDEN = /^mlflow\.(log-model\.history|note\.content|runName)$/;

/** Tags in two: what people set, and what tells of code and machine. @param {Comparison["tags"]} tags */
export function partedTags(tags) {
  const entries = Object.entries(tags).filter(([key]) => !HIDDEN.test(key));
  return {
    own: Object.fromEntries(entries.filter(([key]) => !ENVIRONMENT.test(key))),
    environment: Object.fromEntries(entries.filter(([key]) => ENVIRONMENT.test(key)).map(([key, values]) => [key.replace(/^(ingest\.env|mlflow\.source|mlflow)\./, ""), values])),
  };
}

/** @param {string | number | null} value as JSON has it: NaN and the infinities are texts */
export function numberOf(value) {
  if (value === null || value === "") return NaN;
  return Number(value);
}

/** Everything that an axis can show: params, then summaries of metrics. @param {Comparison} comparison @param {string} summary @returns {Field[]} */
export function fieldsOf({ params, metrics }, summary) {
  const fromParams = Object.entries(params).map(([key, values]) => field("param", key, values));
  const fromMetrics = Object.entries(metrics).filter(([key]) => !key.startsWith("system/")).map(([key, lists]) => field("metric", key, lists[summary] ?? []));
  return [...fromParams, ...fromMetrics];
}

/** @param {"param" | "metric"} kind @param {string} key @param {(number | string | null)[]} values @returns {Field} */
function field(kind, key, values) {
  const there = values.filter((one) => one !== null);
  return { id: `${kind}:${key}`, label: key, kind, values, isNumeric: there.length > 0 && there.every((one) => !Number.isNaN(numberOf(one)) || one === "NaN") };
}

/** Metrics by how likely they are the outcome of a run: validation before training, and what is called a loss or a score before others. @param {Field[]} fields */
export function likeliest(fields) {
  /** @param {Field} one */
  const rank = ({ label }) => (/loss|acc|err|auc|f1|score|perplexity|bleu|reward/i.test(label) ? 0 : 2) + (/val|eval|test/i.test(label) ? 0 : 1);
  return fields.filter((one) => one.kind === "metric" && one.isNumeric).sort((a, b) => rank(a) - rank(b) || a.label.length - b.label.length);
}

/** Axes to begin with: up to four params that differ, then the two likeliest metrics. @param {Field[]} fields */
export function firstAxes(fields) {
  const params = fields.filter((one) => one.kind === "param" && new Set(one.values).size > 1).slice(0, 4);
  return [...params, ...likeliest(fields).slice(0, 2)].map((one) => one.id);
}

/**
 * Places on an axis, 0 … 1: numbers to scale, texts evenly in their order. NaN where a run has no place.
 * @param {Field} one
 */
export function scaleOf(one) {
  if (!one.isNumeric) {
    const names = [...new Set(one.values.filter((value) => value !== null).map(String))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const at = new Map(names.map((name, i) => [name, names.length > 1 ? i / (names.length - 1) : 0.5]));
    return { places: one.values.map((value) => (value === null ? NaN : (at.get(String(value)) ?? NaN))), ticks: names.slice(0, 12).map((name) => ({ at: at.get(name) ?? 0, label: name })), isLog: false, low: 0, high: 1 };
  }
  const numbers = one.values.map(numberOf);
  const finite = numbers.filter(Number.isFinite);
  const [low, high] = finite.length ? [Math.min(...finite), Math.max(...finite)] : [0, 1];
  // Learning rates and the like: to the logarithm where all are positive and two decades lie between them.
  const isLog = low > 0 && high / low >= 100;
  const to = isLog ? Math.log10 : (/** @type {number} */ value) => value;
  const span = to(high) - to(low);
  /** @param {number} value */
  const place = (value) => (Number.isFinite(value) ? (span ? (to(value) - to(low)) / span : 0.5) : NaN);
  const ticks = span ? [0, 0.25, 0.5, 0.75, 1].map((at) => ({ at, label: isLog ? 10 ** (to(low) + at * span) : low + at * span })) : [{ at: 0.5, label: low }];
  return { places: numbers.map(place), ticks, isLog, low, high };
}

/** The runs that all brushes let through. @param {Field[]} axes @param {Record<string, [number, number]>} brushes @param {number} count */
export function brushed(axes, brushes, count) {
  const passes = Array.from({ length: count }, () => true);
  for (const axis of axes) {
    const brush = brushes[axis.id];
    if (!brush) continue;
    scaleOf(axis).places.forEach((place, i) => (passes[i] &&= place >= brush[0] - 1e-9 && place <= brush[1] + 1e-9));
  }
  return passes;
}
