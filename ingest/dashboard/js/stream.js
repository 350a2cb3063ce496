/**
 * What is new for a set of runs, as the service tells it (server-sent events of GET /api/v1/stream).
 *
 * The browser reconnects by itself and goes on from the last event; what waits is one state per run and metric, so nothing piles up.
 */
import { address } from "./api.js";

/**
 * @typedef {{run_id: string, status: string, end_time_ms: number | null, points: number, heartbeat_ms: number | null,
 *   series: Record<string, {n: number, step: number, time_ms: number, value: number | string}>}} RunNews
 */

/** As many as the service watches for one reader. */
export const MAX_RUNS = 200;
const MAX_KEYS = 200; // 1,000 by the service; addresses longer than 8 kB are cut by proxies

/**
 * @param {{runs: string[], keys?: string[]}} what
 * @param {(news: RunNews[]) => void} tell
 * @returns {() => void} ends it
 */
export function follow({ runs, keys = [] }, tell) {
  if (!runs.length) return () => {};
  const source = new EventSource(address("/api/v1/stream", { run: runs.slice(0, MAX_RUNS), key: keys.slice(0, MAX_KEYS) }));
  source.addEventListener("news", (event) => tell(JSON.parse(/** @type {MessageEvent} */ (event).data).runs));
  return () => source.close();
}
