/** Rates out of two answers of /api/v1/operations. Pure. */

/**
 * @typedef {any} Answer as the service gives it
 * @typedef {{at_ms: number, pointsPerSecond: number | null, own: {pointsPerSecond: number, batchesPerSecond: number, rejectsPerSecond: number, lagMs: number | null, commitMs: number | null} | null}} Rate
 */

/**
 * @param {Answer} before
 * @param {Answer} now
 * @returns {Rate}
 */
export function ratesBetween(before, now) {
  const stored = rate(before.database.writers.points, now.database.writers.points, before.database.activity_measured_ms, now.database.activity_measured_ms);
  return { at_ms: now.time_ms, pointsPerSecond: stored, own: ownRates(before, now) };
}

/** Counters of one service can be compared with its own only. @param {Answer} before @param {Answer} now @returns {Rate["own"]} */
function ownRates(before, now) {
  const [a, b] = [before.service, now.service];
  if (a.instance !== b.instance || b.started_ms - a.started_ms > 1000) return null;
  /** @param {number} from @param {number} to */
  const each = (from, to) => rate(from, to, before.time_ms, now.time_ms) ?? 0;
  return {
    pointsPerSecond: each(a.points.stored ?? 0, b.points.stored ?? 0),
    batchesPerSecond: each(a.batches.stored ?? 0, b.batches.stored ?? 0),
    rejectsPerSecond: each(sum(a.rejects), sum(b.rejects)),
    lagMs: mean(a.lag, b.lag),
    commitMs: mean(a.commit, b.commit),
  };
}

/** @param {number} from @param {number} to @param {number} from_ms @param {number} to_ms */
const rate = (from, to, from_ms, to_ms) => (to_ms > from_ms ? Math.max(0, ((to - from) * 1000) / (to_ms - from_ms)) : null);

/** Of what happened between the two, in ms. @param {{count: number, sum: number}} a @param {{count: number, sum: number}} b */
const mean = (a, b) => (b.count > a.count ? ((b.sum - a.sum) / (b.count - a.count)) * 1000 : null);

/** @param {Record<string, number>} counts */
export const sum = (counts) => Object.values(counts).reduce((total, one) => total + one, 0);
