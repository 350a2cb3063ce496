/** Fetches what a component shows: again when what it depends on changes, again after the service was away, and now and then if asked. */
import { useCallback, useEffect, useRef, useState } from "./lib.js";
import { ApiError, wasAborted } from "./api.js";

const RETRY_MS = 3000;

/**
 * @template T
 * @typedef {{data: T | undefined, error: unknown, isLoading: boolean, reload: () => void}} Loaded
 *
 * What was shown stays until the new answer is there, unless `deps` changed. An error beside data is a failed refresh.
 */

/**
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {any[]} deps
 * @param {{everyMs?: number}} [options] everyMs: how long after an answer to ask again; not while the page is hidden
 * @returns {Loaded<T>}
 */
export function useLoad(load, deps, { everyMs } = {}) {
  const [state, setState] = useState(/** @type {{data?: T, error?: unknown, isLoading: boolean}} */ ({ isLoading: true }));
  const again = useRef(() => {});
  useEffect(() => {
    const stop = new AbortController();
    /** @type {number | undefined} */
    let timer;
    const ask = async () => {
      clearTimeout(timer);
      let wait = everyMs;
      try {
        const data = await load(stop.signal);
        if (!stop.signal.aborted) setState({ data, isLoading: false });
      } catch (error) {
        if (stop.signal.aborted || wasAborted(error)) return;
        setState((before) => ({ data: before.data, error, isLoading: false }));
        if (error instanceof ApiError && error.status === 0) wait = RETRY_MS;
      }
      if (wait && !stop.signal.aborted) timer = setTimeout(() => (document.hidden ? whenVisible(ask, stop.signal) : void ask()), wait * (0.9 + Math.random() / 5));
    };
    again.current = () => void ask();
    setState({ isLoading: true });
    void ask();
    return () => (stop.abort(), clearTimeout(timer));
  }, deps);
  return { data: state.data, error: state.error, isLoading: state.isLoading, reload: useCallback(() => again.current(), []) };
}

/** @param {() => void} act @param {AbortSignal} signal */
function whenVisible(act, signal) {
  document.addEventListener("visibilitychange", () => signal.aborted || act(), { once: true, signal });
}
