/**
 * All charts of some runs: one for each metric, in sections by prefix, as a grid of which only what is near the viewport is mounted.
 *
 * Used by the runs of an experiment and by the page of one run.
 */
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../lib.js";
import { ApiError, post, wasAborted } from "../api.js";
import { Dialog } from "../components/dialog.js";
import { Icon } from "../components/icons.js";
import { useKeys } from "../components/keys.js";
import { EmptyState, ErrorState, LoadingState } from "../components/states.js";
import { formatCount, formatValue } from "../format.js";
import { follow } from "../stream.js";
import { Chart } from "./chart.js";
import { ChartBar } from "./bar.js";
import { CutGroups, CutRanks, MOST_GROUPS, MOST_RANKS } from "./cut.js";
import { keyMatcher, sectionsOf } from "./match.js";

const MIN_WIDTH = 300; // of a chart, where the number of columns is free
const GAP = 12;
const HEADING = 42;
const CAPTION = 62; // what a chart has above and below its plot
const BEYOND = 400; // pixels above and below the viewport that are mounted already
const MOST_KEYS = 50_000;
const NEWS_MS = 700; // news of a live run are fetched that often at most

/**
 * @typedef {object} GridProps
 * @property {import("./chart.js").ChartRun[]} runs their ranks are looked up here
 * @property {import("./chart.js").Group[]} [groups] the first MOST_GROUPS of them are drawn
 * @property {string[]} [live] ids of those that run
 * @property {import("./options.js").ChartView} view
 * @property {import("./chart.js").ChartProps["change"]} change
 * @property {(news: import("../stream.js").RunNews[]) => void} [onNews]
 * @property {(key: string) => boolean} [only] metrics that are shown at all
 */

/** @param {GridProps} props */
export function ChartGrid({ runs: shown, groups: allGroups, live = [], view, change, onNews, only }) {
  const groups = useMemo(() => allGroups?.slice(0, MOST_GROUPS), [allGroups]);
  const ids = shown.map((run) => run.id);
  const versions = useNews(live, onNews);
  const { keys, ranks, error, retry } = useKeysOf(ids, Object.keys(versions).length ? Math.floor(Object.values(versions).reduce((a, b) => a + b, 0) / 8) : 0);
  const runs = useMemo(() => shown.map((run) => ({ ...run, ranks: ranks[run.id]?.slice(0, MOST_RANKS) })), [shown, ranks]);
  const search = useRef(/** @type {HTMLInputElement | null} */ (null));
  const matcher = useMemo(() => keyMatcher(view.find), [view.find]);
  const found = useMemo(() => (keys ?? []).filter((key) => matcher.test(key) && (!only || only(key))), [keys, matcher, only]);
  useKeys("Charts", [
    { keys: "m", does: "Search metrics", run: () => search.current?.focus() },
    { keys: "z", does: "Show the whole range", run: () => change({ from: null, to: null }) },
    { keys: "l", does: "Logarithmic y axis", run: () => change({ logy: !view.logy }) },
    { keys: "o", does: "Clip outliers", run: () => change({ clip: !view.clip }) },
    { keys: "v", does: "Into the first chart: ← and → read values, with Shift they move the range, + and − zoom", run: focusChart },
  ]);
  const shared = { runs, groups, view, change, versions };
  return html`
    <section class="charts" aria-label="Charts">
      <${ChartBar} view=${view} change=${change} searchRef=${search} keys=${keys ?? []} count=${found.length} problem=${matcher.problem} hasRanks=${runs.some((run) => (run.ranks?.length ?? 0) > 1)} hasGroups=${Boolean(groups)} />
      ${view.ranks && !groups ? html`<${CutRanks} runs=${shown} ranks=${ranks} showTogether=${() => change({ ranks: false })} />` : null}
      ${allGroups ? html`<${CutGroups} count=${allGroups.length} />` : null}
      ${error
        ? html`<${ErrorState} error=${error} retry=${retry} />`
        : !runs.length
          ? html`<${EmptyState} title="No run is shown"><p class="muted">Choose runs in the table to see their curves.</p></${EmptyState}>`
          : !keys
            ? html`<${LoadingState} what="Looking for metrics" />`
            : !found.length
              ? html`<${EmptyState} title=${view.find ? "No metric fits" : "No metrics yet"}><p class="muted">${view.find ? "A piece of the key, a glob such as train/*loss, or a /regular expression/." : "Charts appear with the first point that is logged."}</p></${EmptyState}>`
              : html`<${VirtualGrid} found=${found} ...${shared} />`}
      ${view.full ? html`<${FullScreen} ...${shared} />` : null}
    </section>`;
}

const focusChart = () => /** @type {HTMLElement | null} */ (document.querySelector(".chart .plot"))?.focus();

// --- what is mounted -------------------------------------------------------------------------------------------------

/** @typedef {{top: number, height: number, name?: string, count?: number, keys?: string[]}} Row */

/** @param {Omit<GridProps, "live"> & {found: string[], versions: Record<string, number>}} props */
function VirtualGrid({ found, view, change, ...shared }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const { width, from, to } = useWindow(box);
  const columns = view.cols || Math.max(1, Math.min(6, Math.floor((width + GAP) / (MIN_WIDTH + GAP))));
  const rows = useMemo(() => rowsOf(found, view, columns), [found, view.top, view.fold, view.high, columns]);
  const total = rows.length ? rows[rows.length - 1].top + rows[rows.length - 1].height : 0;
  const shown = width ? rows.filter((row) => row.top < to && row.top + row.height > from) : [];
  /** @param {string} name */
  const toggle = (name) => change({ fold: view.fold.includes(name) ? view.fold.filter((one) => one !== name) : [...view.fold, name] });
  return html`
    <div class="chart-canvas" ref=${box} style=${{ height: `${total}px` }}>
      ${shown.map((row) =>
        row.keys
          ? html`<div class="chart-row" key=${`${row.name} ${row.keys[0]}`} style=${{ top: `${row.top}px`, gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))`, gap: `${GAP}px` }}>
              ${row.keys.map((key) => html`<${Chart} key=${key} metric=${key} view=${view} change=${change} height=${view.high} ...${shared} />`)}
            </div>`
          : html`<h2 class="chart-section" key=${`section ${row.name}`} style=${{ top: `${row.top}px` }}>
              <button class="quiet" aria-expanded=${!view.fold.includes(row.name ?? "")} onClick=${() => toggle(row.name ?? "")}>
                <${Icon} name=${view.fold.includes(row.name ?? "") ? "right" : "chevron"} />${row.name || "metrics"}<span class="count">${formatCount(row.count ?? 0)}</span>
              </button>
            </h2>`,
      )}
    </div>`;
}

/** @param {string[]} found @param {import("./options.js").ChartView} view @param {number} columns @returns {Row[]} */
function rowsOf(found, view, columns) {
  /** @type {Row[]} */ const rows = [];
  let top = 0;
  /** @param {Omit<Row, "top">} row */
  const add = (row) => {
    rows.push({ ...row, top });
    top += row.height;
  };
  const there = new Set(found);
  const pinned = view.top.filter((key) => there.has(key));
  const sections = [...(pinned.length ? [{ name: "pinned", keys: pinned }] : []), ...sectionsOf(found.filter((key) => !view.top.includes(key)))];
  for (const { name, keys } of sections) {
    add({ height: HEADING, name, count: keys.length });
    if (view.fold.includes(name)) continue;
    for (let i = 0; i < keys.length; i += columns) add({ height: view.high + CAPTION + GAP, name, keys: keys.slice(i, i + columns) });
  }
  return rows;
}

/** Which stretch of the box is near the viewport. @param {{current: HTMLElement | null}} box */
function useWindow(box) {
  const [state, setState] = useState({ width: 0, from: 0, to: 0 });
  useLayoutEffect(() => {
    const element = /** @type {HTMLElement} */ (box.current);
    let isAsked = false;
    const measure = () => {
      isAsked = false;
      const { top, width } = element.getBoundingClientRect();
      // Rounded, so that scrolling a little draws nothing.
      const from = Math.floor((-top - BEYOND) / 100) * 100;
      const next = { width: Math.floor(width), from, to: from + innerHeight + 2 * BEYOND };
      setState((before) => (before.width === next.width && before.from === next.from && before.to === next.to ? before : next));
    };
    const ask = () => {
      if (!isAsked) requestAnimationFrame(measure);
      isAsked = true;
    };
    measure();
    addEventListener("scroll", ask, { capture: true, passive: true });
    addEventListener("resize", ask);
    const observer = new ResizeObserver(ask);
    observer.observe(element);
    observer.observe(document.body);
    return () => (removeEventListener("scroll", ask, { capture: true }), removeEventListener("resize", ask), observer.disconnect());
  }, []);
  return state;
}

// --- full screen -----------------------------------------------------------------------------------------------------

/** @param {Omit<GridProps, "live"> & {versions: Record<string, number>}} props */
function FullScreen({ view, change, runs, ...shared }) {
  const height = Math.max(240, innerHeight - 230);
  return html`
    <${Dialog} title=${view.full} wide onClose=${() => change({ full: "" })}>
      <div class="chart-full">
        <${Chart} metric=${view.full} view=${view} change=${change} height=${height} runs=${runs} isFull ...${shared} />
        <ul class="chart-legend">
          ${(shared.groups ?? runs).map((one) => html`<li key=${one.name}><i style=${{ background: one.colour }}></i><span class="truncate">${one.name}</span></li>`)}
        </ul>
      </div>
    </${Dialog}>`;
}

// --- what metrics there are, what is new -----------------------------------------------------------------------------

/** @param {string[]} ids @param {number} again another number asks anew: live runs get new metrics */
function useKeysOf(ids, again) {
  const [state, setState] = useState(/** @type {{keys: string[] | null, ranks: Record<string, number[]>, error: unknown}} */ ({ keys: null, ranks: {}, error: null }));
  const [tries, setTries] = useState(0);
  const which = ids.join();
  useEffect(() => {
    if (!ids.length) return void setState({ keys: [], ranks: {}, error: null });
    const stop = new AbortController();
    post("/api/v1/keys", { runs: ids.slice(0, 200), kinds: ["metric"], limit: MOST_KEYS }, { signal: stop.signal }).then(
      (answer) => {
        const keys = answer.metrics.map((/** @type {{key: string}} */ one) => one.key);
        setState((before) => (isSame(before.keys, keys) && JSON.stringify(before.ranks) === JSON.stringify(answer.ranks) ? before : { keys, ranks: answer.ranks, error: null }));
      },
      (error) => wasAborted(error) || setState((before) => (before.keys && error instanceof ApiError && error.status === 0 ? before : { keys: null, ranks: {}, error })),
    );
    return () => stop.abort();
  }, [which, again, tries]);
  return { ...state, retry: () => setTries(tries + 1) };
}

/** @param {string[] | null} before @param {string[]} now */
const isSame = (before, now) => before?.length === now.length && before.every((key, i) => key === now[i]);

/** Numbers by run that change when there is news of it. @param {string[]} live @param {GridProps["onNews"]} onNews */
function useNews(live, onNews) {
  const [versions, setVersions] = useState(/** @type {Record<string, number>} */ ({}));
  const tell = useRef(onNews);
  tell.current = onNews;
  const which = live.join();
  useEffect(() => {
    /** @type {Set<string>} */ const fresh = new Set();
    let timer = 0;
    let last = 0;
    const show = () => {
      timer = 0;
      last = performance.now();
      const ids = [...fresh];
      fresh.clear();
      setVersions((before) => ({ ...before, ...Object.fromEntries(ids.map((id) => [id, (before[id] ?? 0) + 1])) }));
    };
    const end = follow({ runs: live }, (news) => {
      tell.current?.(news);
      for (const one of news) fresh.add(one.run_id);
      timer ||= window.setTimeout(show, Math.max(0, last + NEWS_MS - performance.now()));
    });
    return () => (end(), clearTimeout(timer));
  }, [which]);
  return versions;
}
