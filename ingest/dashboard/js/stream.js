/**
 * What is new for a set of runs, as the service tells it (server-sent events of GET /api/v1/stream).
 *
 * The browser reconnects by itself and goes on from the last event; what waits is one state per run and metric, so nothing piles up.
 * An answer that is no stream (too many of them, a proxy whose service restarts, a session that is over) it takes for the end:
 * then it is tried anew here, and asked who we are, which leads to the login where that is needed.
 */
import { address } from "./api.js";
import { loadSession } from "./session.js";

/**
 * @typedef {{run_id: string, status: string, end_time_ms: number | null, points: number, heartbeat_ms: number | null,
 *   series: Record<string, {n: number, step: number, time_ms: number, value: number | string}>}} RunNews
 */

const MAX_RUNS = 200; // as many as the service watches for one reader
const MAX_KEYS = 200; // 1,000 by the service; addresses longer than 8 kB are cut by proxies
const AGAIN_MS = 5000;

/**
 * @param {{runs: string[], keys?: string[]}} what
 * @param {(news: RunNews[]) => void} tell
 * @returns {() => void} ends it
 */
export function follow({ runs, keys = [] }, tell) {
  if (!runs.length) return () => {};
  const from = address("/api/v1/stream", { run: runs.slice(0, MAX_RUNS), key: keys.slice(0, MAX_KEYS) });
  /** @type {EventSource} */
  let source;
  let timer = 0;
  const open = () => {
    source = new EventSource(from);
    source.addEventListener("news", (event) => tell(JSON.parse(/** @type {MessageEvent} */ (event).data).runs));
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return;
      timer = setTimeout(open, AGAIN_MS * (0.8 + 0.4 * Math.random()));
      void loadSession().catch(() => {}); // away altogether: the bar at the top says so
    });
  };
  open();
  return () => (clearTimeout(timer), source.close());
}
