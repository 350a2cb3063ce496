/** The runs that a search finds: loaded page by page as somebody scrolls, the first page kept fresh. */
import { useCallback, useEffect, useRef, useState } from "../lib.js";
import { post, wasAborted } from "../api.js";

const PAGE = 200;
const REFRESH_MS = 4000;
const ALWAYS = ["name", "status", "start_time", "end_time", "lifecycle", "experiment", "experiment_id"];

/** @typedef {import("./fields.js").Run} Run */
/** @typedef {{runs: Run[], next: string | null, count: number, error: unknown, isLoading: boolean, asked: string}} Found */

/**
 * @param {{filter: string, order: string, experiments?: number[], life: string, fields: string[] | null}} search fields null: not known yet
 */
export function useRuns({ filter, order, experiments, life, fields }) {
  const [found, setFound] = useState(/** @type {Found} */ ({ runs: [], next: null, count: 0, error: null, isLoading: true, asked: "" }));
  const columns = fields && [...new Set([...ALWAYS, ...fields.filter((one) => one !== "duration")])];
  const what = columns && JSON.stringify({ filter, order_by: order ? [order] : [], experiments, view: life, columns });
  const [again, setAgain] = useState(0);
  const more = useRef(false);

  useEffect(() => {
    if (!what) return;
    const stop = new AbortController();
    setFound((before) => ({ ...before, isLoading: true }));
    ask(what, { limit: PAGE, count: true }, stop.signal).then(
      (page) => setFound({ runs: page.runs, next: page.next_page_token, count: page.count, error: null, isLoading: false, asked: what }),
      (error) => wasAborted(error) || setFound((before) => ({ ...before, error, isLoading: false, asked: what })),
    );
    return () => stop.abort();
  }, [what, again]);

  useEffect(() => {
    if (!what) return;
    const stop = new AbortController();
    const timer = setInterval(async () => {
      if (document.hidden || more.current) return;
      try {
        const page = await ask(what, { limit: PAGE, count: true }, stop.signal);
        setFound((before) => (before.asked === what && !before.error ? withFirstPage(before, page) : before));
      } catch {
        // what is shown stays; the bar says that the service is away
      }
    }, REFRESH_MS);
    return () => (clearInterval(timer), stop.abort());
  }, [what]);

  /** The next page, if there is one and none is on its way. */
  const loadMore = useCallback(async () => {
    if (!what || more.current || !found.next || found.asked !== what) return;
    more.current = true;
    try {
      const page = await ask(what, { limit: Math.min(5000, found.runs.length), page_token: found.next });
      setFound((before) => (before.asked === what ? { ...before, runs: joined(before.runs, page.runs), next: page.next_page_token } : before));
    } catch (error) {
      setFound((before) => ({ ...before, error }));
    } finally {
      more.current = false;
    }
  }, [what, found.next, found.runs.length]);

  /** Changes shown at once, before the service is asked again. */
  const edit = useCallback((/** @type {(runs: Run[]) => Run[]} */ change) => setFound((before) => ({ ...before, runs: change(before.runs) })), []);
  return { ...found, isStale: found.asked !== what, loadMore, edit, reload: () => setAgain((n) => n + 1) };
}

/** @param {string} what @param {object} page @param {AbortSignal} [signal] */
const ask = (what, page, signal) => post("/api/v1/runs/search", { ...JSON.parse(what), ...page }, { signal });

/** Runs that start while somebody looks come first; pages loaded below stay. @param {Found} before @param {{runs: Run[], next_page_token: string | null, count: number}} page @returns {Found} */
function withFirstPage(before, page) {
  if (before.runs.length <= PAGE) return { ...before, runs: page.runs, next: page.next_page_token, count: page.count };
  return { ...before, runs: joined(page.runs, before.runs), count: page.count };
}

/** @param {Run[]} first @param {Run[]} then */
function joined(first, then) {
  const there = new Set(first.map((run) => run.run_id));
  return [...first, ...then.filter((run) => !there.has(run.run_id))];
}
