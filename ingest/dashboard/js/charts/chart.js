/** One chart: fetches its lines and draws them. Mounted only while it is near the viewport. */
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../lib.js";
import { wasAborted } from "../api.js";
import { Menu } from "../components/menu.js";
import { Icon } from "../components/icons.js";
import { useWidth } from "../components/width.js";
import { formatCount, formatShort } from "../format.js";
import { dragStart, dropped, placeItems } from "./arrange.js";
import { fetchAggregate, fetchLines, hurry } from "./data.js";
import { saveColumns, savePng, saveSvg } from "./export.js";
import { createPlot, kindOf } from "./plot.js";
import { clippedRange, curveOf } from "./series.js";
import { askForTip, showTip } from "./tip.js";
import { onPlotKey } from "./walk.js";

/**
 * @typedef {object} ChartRun
 * @property {string} id
 * @property {string} name
 * @property {string} colour
 * @property {number[]} [ranks] of the processes that logged it, where there are several
 *
 * @typedef {object} Group
 * @property {string} name
 * @property {string} colour
 * @property {string[]} runs
 *
 * @typedef {object} ChartProps
 * @property {string} metric
 * @property {ChartRun[]} runs
 * @property {Group[]} [groups] instead of single runs: one line for each
 * @property {import("./options.js").ChartView} view
 * @property {(changes: Partial<import("./options.js").ChartView>, how?: {replace?: boolean}) => void} change
 * @property {number} height
 * @property {Record<string, number>} versions by run id: another number means that there is news
 * @property {boolean} [isFull]
 */

const PIXELS_PER_BUCKET = 1.5;

/** @param {ChartProps} props */
export function Chart({ metric, runs, groups, view, change, height, versions, isFull = false }) {
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  const tip = useRef(/** @type {HTMLDivElement | null} */ (null));
  const width = useWidth(place);
  const { lines, error, isLoading } = useLines({ metric, runs, groups, view, width, versions });
  const drawn = useMemo(() => drawnLines(lines, runs, groups, view), [lines, runs, groups, view]);
  const plot = usePlot({ metric, place, tip, lines, drawn, view, change, width, height, isLoading });
  const menu = () => [
    ...(isFull ? [] : [{ label: "Full screen", icon: /** @type {const} */ ("expand"), run: () => change({ full: metric }) }]),
    ...placeItems(metric, view, change),
    { label: "Use as x axis", icon: /** @type {const} */ ("chart"), run: () => change({ x: "metric", xkey: metric, from: null, to: null }) },
    { label: "Download" },
    { label: "PNG", icon: /** @type {const} */ ("download"), run: () => plot.current && savePng(plot.current.plot.ctx.canvas, metric, drawn) },
    { label: "SVG", icon: /** @type {const} */ ("download"), run: () => plot.current && saveSvg(plot.current.plot, metric, drawn) },
    { label: "CSV", icon: /** @type {const} */ ("download"), run: () => saveColumns(metric, drawn) },
  ];
  return html`
    <figure class="chart" data-metric=${metric} aria-label=${`Chart of ${metric}`} onDragOver=${(/** @type {DragEvent} */ event) => event.preventDefault()}
      onDrop=${(/** @type {DragEvent} */ event) => dropped(event, metric, view, change)}>
      <figcaption draggable=${!isFull} onDragStart=${(/** @type {DragEvent} */ event) => dragStart(event, metric)}>
        <span class="chart-title truncate" title=${metric}>${metric}</span>
        ${isLoading ? html`<span class="spinner tiny" role="img" aria-label="Loading"></span>` : null}
        <span class="spacer"></span>
        ${isFull ? null : html`<button class="icon-button small" title="Full screen" aria-label=${`Full screen: ${metric}`} onClick=${() => change({ full: metric })}><${Icon} name="expand" size=${14} /></button>`}
        <${Menu} label="" icon="more" title=${`More about ${metric}`} className="icon-button small" align="right" items=${menu} />
      </figcaption>
      <div class="plot-box">
        <div class="plot" ref=${place} style=${{ height: `${height}px` }} tabindex="0" role="group" aria-label=${`Curves of ${metric}; arrow keys move the cursor, plus and minus zoom`}
          onKeyDown=${(/** @type {KeyboardEvent} */ event) => plot.current && onPlotKey(event, plot.current.plot, plot.current.zoom)}></div>
        ${error ? html`<div class="chart-note error" role="alert">${error instanceof Error ? error.message : String(error)}</div>` : lines && !drawn.length && !isLoading ? html`<div class="chart-note">None of the shown runs has this metric.</div>` : null}
        <div class="chart-tip" ref=${tip} hidden></div>
      </div>
      <${Told} drawn=${drawn} />
    </figure>`;
}

/** How many points are behind the curves, and what of them can't be seen. @param {{drawn: import("./plot.js").Drawn[]}} props */
function Told({ drawn }) {
  /** @param {(one: import("./plot.js").Drawn) => number} count */
  const total = (count) => drawn.reduce((sum, one) => sum + count(one), 0);
  const points = total(({ curve }) => curve.line.n);
  const buckets = total(({ curve }) => (curve.from ? curve.x.length : 0));
  const marks = total(({ curve }) => curve.marks.length);
  const unplaced = total(({ curve }) => curve.line.unplaced);
  const several = `${drawn.length} lines, ${formatShort(points)} points${buckets ? ` in ${formatShort(buckets)} buckets` : ""}`;
  const text = drawn.length === 1 ? drawn[0].curve.line.told : drawn.length ? several : "";
  return html`
    <div class="chart-told truncate" title=${text}>${text}${marks ? html` · <span class="marks">× ${formatCount(marks)} ${buckets ? "with" : ""} non-finite</span>` : null}${unplaced ? ` · ${formatCount(unplaced)} without x` : ""}</div>`;
}

/**
 * The plot on the page, made anew when what is drawn changes its kind, fed otherwise.
 * @param {{metric: string, place: {current: HTMLDivElement | null}, tip: {current: HTMLDivElement | null}, lines: import("./data.js").Line[] | null,
 *   drawn: import("./plot.js").Drawn[], view: ChartProps["view"], change: ChartProps["change"], width: number, height: number, isLoading: boolean}} props
 */
function usePlot({ metric, place, tip, lines, drawn, view, change, width, height, isLoading }) {
  const theme = useTheme();
  const plot = useRef(/** @type {ReturnType<typeof createPlot> & {kind: string, zoom: (from: number, to: number) => void} | null} */ (null));
  const isTurnedTo = useRef(false); // somebody zoomed in this very chart: it follows at once, with the buckets that it has
  useLayoutEffect(() => {
    if (!place.current || !width || !lines) return;
    if (!isLoading) isTurnedTo.current = false;
    else if (!isTurnedTo.current) return; // drawn once, when the answer is there
    const onTurn = () => { isTurnedTo.current = true; hurry(metric); };
    const options = plotOptions(view, change, drawn, tip, onTurn);
    const kind = kindOf(drawn, options);
    if (plot.current?.kind === kind) {
      plot.current.update(drawn, options);
      plot.current.zoom = options.onZoom;
      if (plot.current.plot.width !== width || plot.current.plot.height !== height) plot.current.plot.setSize({ width, height });
    } else {
      plot.current?.plot.destroy();
      plot.current = { ...createPlot(place.current, drawn, options, { width, height }), kind, zoom: options.onZoom };
    }
    place.current.dataset.drawn = String(drawn.length); // for tests: the canvas is painted
  }, [drawn, width, height, theme, view, isLoading]);
  useEffect(() => () => plot.current?.plot.destroy(), []);
  return plot;
}

// --- data ------------------------------------------------------------------------------------------------------------

/** @param {{metric: string, runs: ChartRun[], groups?: Group[], view: ChartProps["view"], width: number, versions: Record<string, number>}} props */
function useLines({ metric, runs, groups, view, width, versions }) {
  const [state, setState] = useState(/** @type {{lines: import("./data.js").Line[] | null, error: unknown, asked: string}} */ ({ lines: null, error: null, asked: "" }));
  const x = view.x === "metric" ? `metric:${view.xkey}` : view.x;
  const buckets = Math.max(100, Math.min(2000, Math.round(width / PIXELS_PER_BUCKET / 50) * 50));
  const ids = runs.map((run) => run.id);
  const [from, to] = [view.from === null ? null : outward(view.from, view.x, -1), view.to === null ? null : outward(view.to, view.x, 1)];
  const what = JSON.stringify([metric, ids, groups?.map(({ name, runs: own }) => [name, own]), x, from, to, buckets, view.ranks && runs.map((run) => run.ranks)]);
  const known = useRef(/** @type {{what: string, versions: Record<string, number>, lines: Map<string, import("./data.js").Line[]>}} */ ({ what: "", versions: {}, lines: new Map() }));
  const news = ids.map((id) => versions[id] ?? 0).join();
  // Before the curves that are there are drawn anew for another range: the service works meanwhile.
  useLayoutEffect(() => {
    if (!width || (view.x === "metric" && !view.xkey)) return;
    const stop = new AbortController();
    const isSame = known.current.what === what;
    // When only some runs have news, only these are fetched anew.
    const stale = isSame ? ids.filter((id) => known.current.versions[id] !== versions[id]) : ids;
    if (isSame && !stale.length) return;
    if (isSame) for (const id of stale) known.current.versions[id] = versions[id];
    const question = { key: metric, runs: groups ? ids : stale, x, from, to, buckets };
    const answer = groups
      ? Promise.all(groups.map((group) => fetchAggregate(group.name, { ...question, runs: group.runs }, stop.signal)))
      : view.ranks
        ? fetchRanks(runs.filter((run) => stale.includes(run.id)), question, stop.signal)
        : stale.length ? fetchLines(question, stop.signal) : Promise.resolve([]);
    answer.then(
      (fetched) => {
        const lines = isSame && !groups ? new Map(known.current.lines) : new Map();
        for (const id of stale) lines.delete(id);
        for (const line of fetched) lines.set(runOf(line), [...(lines.get(runOf(line)) ?? []), line]);
        known.current = { what, versions: Object.fromEntries(ids.map((id) => [id, versions[id]])), lines };
        setState({ lines: [...lines.values()].flat(), error: null, asked: what });
      },
      (error) => {
        if (wasAborted(error)) return;
        known.current.what = "";
        setState((before) => ({ ...before, error, asked: what }));
      },
    );
    return () => stop.abort();
  }, [what, news, width > 0]);
  return { lines: state.lines, error: state.error, isLoading: state.asked !== what };
}

/** @param {import("./data.js").Line} line */
const runOf = (line) => line.id.split(" ")[0];

/** Each rank's own line. @param {ChartRun[]} runs @param {import("./data.js").Question} question @param {AbortSignal} signal */
async function fetchRanks(runs, question, signal) {
  /** @type {Map<number, string[]>} */
  const byRank = new Map();
  for (const run of runs) for (const rank of run.ranks ?? [0]) byRank.set(rank, [...(byRank.get(rank) ?? []), run.id]);
  const answers = await Promise.all(
    [...byRank].map(async ([rank, ids]) => (await fetchLines({ ...question, runs: ids, rank }, signal)).map((line) => ({ ...line, id: `${line.id} ${rank}` }))),
  );
  return answers.flat().filter((line) => line.n > 0);
}

/** Steps and times are integers. @param {number} bound @param {string} axis @param {1 | -1} side */
const outward = (bound, axis, side) => (axis === "metric" ? bound : side < 0 ? Math.floor(bound) : Math.ceil(bound));

/** @param {import("./data.js").Line[] | null} lines @param {ChartRun[]} runs @param {Group[] | undefined} groups @param {ChartProps["view"]} view */
function drawnLines(lines, runs, groups, view) {
  if (!lines) return [];
  const names = new Map((groups ?? []).map((group) => [group.name, group]));
  const byId = new Map(runs.map((run) => [run.id, run]));
  return lines.flatMap((line) => {
    const [id, rank] = groups ? [line.id] : line.id.split(" ");
    const owner = names.get(id) ?? byId.get(id);
    if (!owner || !line.n) return [];
    const isFolded = view.x === "step" && rank === undefined && "ranks" in owner && (owner.ranks?.length ?? 0) > 1;
    return [{ curve: curveOf(line, { ...view, isFolded }), colour: owner.colour, label: rank === undefined ? owner.name : `${owner.name} · rank ${rank}` }];
  });
}

// --- drawing ---------------------------------------------------------------------------------------------------------

/** @param {ChartProps["view"]} view @param {ChartProps["change"]} change @param {import("./plot.js").Drawn[]} drawn @param {{current: HTMLDivElement | null}} tip @param {() => void} onTurn @returns {import("./plot.js").PlotOptions} */
function plotOptions(view, change, drawn, tip, onTurn) {
  const logx = view.logx && view.x !== "time";
  return {
    x: view.x,
    logx,
    logy: view.logy,
    rangeX: rangeX(view, drawn, logx),
    rangeY: view.clip ? clippedRange(drawn.map(({ curve }) => curve), view.logy) : null,
    syncKey: "charts",
    onZoom: (from, to) => {
      const [low, high] = [outward(from, view.x, -1), outward(to, view.x, 1)];
      onTurn();
      change({ from: low, to: high > low ? high : low + 1 });
    },
    onReset: () => (onTurn(), change({ from: null, to: null })),
    onCursor: (at) => askForTip(tip.current, () => showTip(tip.current, drawn, at, view.x)),
  };
}

/** What is zoomed to, or everything; a logarithmic axis begins at the first place above 0. @param {ChartProps["view"]} view @param {import("./plot.js").Drawn[]} drawn @param {boolean} isLog @returns {[number, number] | null} */
function rangeX({ from, to }, drawn, isLog) {
  const range = from !== null && to !== null && to > from ? /** @type {[number, number]} */ ([from, to]) : wholeRange(drawn);
  if (!range || !isLog || range[0] > 0) return range;
  const first = Math.min(...drawn.map(({ curve }) => curve.x[0] ?? Infinity)); // curves are cut to x above 0
  return first < range[1] ? [first, range[1]] : null;
}

/** From where the first bucket begins to where the last one ends, not only from middle to middle. @param {import("./plot.js").Drawn[]} drawn @returns {[number, number] | null} */
function wholeRange(drawn) {
  let [low, high] = [Infinity, -Infinity];
  for (const { curve: { x, from = x, to = x } } of drawn) {
    if (!x.length) continue;
    low = Math.min(low, from[0]);
    high = Math.max(high, to[to.length - 1]);
  }
  return low < high ? [low, high] : null;
}

function useTheme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme);
  useEffect(() => {
    const changed = () => setTheme(document.documentElement.dataset.theme);
    addEventListener("theme", changed);
    return () => removeEventListener("theme", changed);
  }, []);
  return theme;
}
