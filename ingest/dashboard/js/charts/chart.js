/** One chart: fetches its lines, draws them, shows values under the cursor. Mounted only while it is near the viewport. */
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../lib.js";
import { wasAborted } from "../api.js";
import { Menu } from "../components/menu.js";
import { Icon } from "../components/icons.js";
import { formatCount, formatShort, formatValue } from "../format.js";
import { fetchAggregate, fetchLines, hurry } from "./data.js";
import { saveCsv, savePng, saveSvg } from "./export.js";
import { createPlot, kindOf, nearest, shownX } from "./plot.js";
import { clippedRange, curveOf } from "./series.js";

/**
 * @typedef {object} ChartRun
 * @property {string} id
 * @property {string} name
 * @property {string} colour
 * @property {number[]} [ranks]
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
 * @property {string} [highlight] run id under the pointer elsewhere
 * @property {boolean} [isFull]
 */

const TOOLTIP_ROWS = 12;
const PIXELS_PER_BUCKET = 1.5;

/** @param {ChartProps} props */
export function Chart({ metric, runs, groups, view, change, height, versions, isFull = false }) {
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  const tip = useRef(/** @type {HTMLDivElement | null} */ (null));
  const width = useWidth(place);
  const theme = useTheme();
  const { lines, error, isLoading } = useLines({ metric, runs, groups, view, width, versions });
  const drawn = useMemo(() => drawnLines(lines, runs, groups, view), [lines, runs, groups, view]);
  const plot = useRef(/** @type {ReturnType<typeof createPlot> & {kind: string} | null} */ (null));

  const isTurnedTo = useRef(false); // somebody zoomed in this very chart: it follows at once, with the buckets that it has
  useLayoutEffect(() => {
    if (!place.current || !width || !lines) return;
    if (!isLoading) isTurnedTo.current = false;
    else if (plot.current && !isTurnedTo.current) return; // drawn once, when the answer is there
    const onTurn = () => { isTurnedTo.current = true; hurry(metric); };
    const options = plotOptions(view, change, drawn, tip, onTurn);
    const kind = kindOf(drawn, options);
    if (plot.current?.kind === kind) {
      plot.current.update(drawn, options);
      if (plot.current.plot.width !== width || plot.current.plot.height !== height) plot.current.plot.setSize({ width, height });
    } else {
      plot.current?.plot.destroy();
      plot.current = { ...createPlot(place.current, drawn, options, { width, height }), kind };
    }
    place.current.dataset.drawn = String(drawn.length); // for tests: the canvas is painted
  }, [drawn, width, height, theme, view, isLoading]);
  useEffect(() => () => plot.current?.plot.destroy(), []);

  const points = drawn.reduce((sum, { curve }) => sum + curve.line.n, 0);
  const told = drawn.length === 1 ? drawn[0].curve.line.told : drawn.length ? `${drawn.length} lines, ${formatShort(points)} points${bucketsOf(drawn)}` : "";
  const marks = drawn.reduce((sum, { curve }) => sum + curve.marks.length, 0);
  const unplaced = drawn.reduce((sum, { curve }) => sum + curve.line.unplaced, 0);
  const isTop = view.top.includes(metric);
  const menu = () => [
    ...(isFull ? [] : [{ label: "Full screen", icon: /** @type {const} */ ("expand"), run: () => change({ full: metric }) }]),
    { label: isTop ? "Unpin from the top" : "Pin to the top", icon: /** @type {const} */ ("pin"), run: () => change({ top: isTop ? view.top.filter((one) => one !== metric) : [...view.top, metric] }) },
    ...(isTop ? [{ label: "Move earlier", icon: /** @type {const} */ ("up"), run: () => change({ top: moved(view.top, metric, -1) }) }, { label: "Move later", icon: /** @type {const} */ ("down"), run: () => change({ top: moved(view.top, metric, 1) }) }] : []),
    { label: "Use as x axis", icon: /** @type {const} */ ("chart"), run: () => change({ x: "metric", xkey: metric, from: null, to: null }) },
    { label: "Download" },
    { label: "PNG", icon: /** @type {const} */ ("download"), run: () => plot.current && savePng(plot.current.plot.ctx.canvas, metric, drawn) },
    { label: "SVG", icon: /** @type {const} */ ("download"), run: () => plot.current && saveSvg(plot.current.plot, metric, drawn) },
    { label: "CSV", icon: /** @type {const} */ ("download"), run: () => saveCsv(metric, drawn) },
  ];
  return html`
    <figure class="chart" data-metric=${metric} aria-label=${`Chart of ${metric}`} onDragOver=${(/** @type {DragEvent} */ event) => event.preventDefault()}
      onDrop=${(/** @type {DragEvent} */ event) => dropped(event, metric, view, change)}>
      <figcaption draggable=${!isFull} onDragStart=${(/** @type {DragEvent} */ event) => dragStart(event, metric)}>
        <span class="chart-title truncate" title=${metric}>${metric}</span>
        ${isLoading ? html`<span class="spinner tiny" aria-label="Loading"></span>` : null}
        <span class="spacer"></span>
        ${isFull ? null : html`<button class="icon-button small" title="Full screen" aria-label=${`Full screen: ${metric}`} onClick=${() => change({ full: metric })}><${Icon} name="expand" size=${14} /></button>`}
        <${Menu} label="" icon="more" title=${`More about ${metric}`} className="icon-button small" align="right" items=${menu} />
      </figcaption>
      <div class="plot-box">
        <div class="plot" ref=${place} style=${{ height: `${height}px` }}></div>
        ${error ? html`<div class="chart-note error" role="alert">${error instanceof Error ? error.message : String(error)}</div>` : lines && !drawn.length ? html`<div class="chart-note">None of the shown runs has this metric.</div>` : null}
        <div class="chart-tip" ref=${tip} hidden></div>
      </div>
      <div class="chart-told truncate">${told}${marks ? html` · <span class="marks">× ${formatCount(marks)} ${drawn.some(({ curve }) => curve.from) ? "with" : ""} non-finite</span>` : null}${unplaced ? ` · ${formatCount(unplaced)} without x` : ""}</div>
    </figure>`;
}

/** @param {import("./plot.js").Drawn[]} drawn */
function bucketsOf(drawn) {
  const buckets = drawn.reduce((sum, { curve }) => sum + (curve.from ? curve.x.length : 0), 0);
  return buckets ? ` in ${formatShort(buckets)} buckets` : "";
}

/** @param {string[]} order @param {string} one @param {number} by */
function moved(order, one, by) {
  const at = order.indexOf(one);
  const rest = order.filter((other) => other !== one);
  rest.splice(Math.max(0, at + by), 0, one);
  return rest;
}

/** @param {DragEvent} event @param {string} metric */
function dragStart(event, metric) {
  event.dataTransfer?.setData("text/metric", metric);
}

/** A chart dropped on another takes the place before it, in the section at the top. @param {DragEvent} event @param {string} metric @param {ChartProps["view"]} view @param {ChartProps["change"]} change */
function dropped(event, metric, view, change) {
  const dragged = event.dataTransfer?.getData("text/metric");
  if (!dragged || dragged === metric) return;
  event.preventDefault();
  const rest = view.top.filter((one) => one !== dragged);
  const at = rest.indexOf(metric);
  change({ top: at < 0 ? [...rest, dragged] : [...rest.slice(0, at), dragged, ...rest.slice(at)] });
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
    return [{ curve: curveOf(line, view), colour: owner.colour, label: rank === undefined ? owner.name : `${owner.name} · rank ${rank}` }];
  });
}

// --- drawing ---------------------------------------------------------------------------------------------------------

/** @param {ChartProps["view"]} view @param {ChartProps["change"]} change @param {import("./plot.js").Drawn[]} drawn @param {{current: HTMLDivElement | null}} tip @param {() => void} onTurn @returns {import("./plot.js").PlotOptions} */
function plotOptions(view, change, drawn, tip, onTurn) {
  return {
    x: view.x,
    logx: view.logx && view.x !== "time",
    logy: view.logy,
    rangeX: view.from !== null && view.to !== null && view.to > view.from ? [view.from, view.to] : wholeRange(drawn),
    rangeY: view.clip ? clippedRange(drawn.map(({ curve }) => curve)) : null,
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

/** @type {Map<Element, () => void>} */
const tips = new Map();

/** The tips of all linked charts, once a frame: the pointer moves more often. @param {Element | null} box @param {() => void} show */
function askForTip(box, show) {
  if (!box) return;
  if (!tips.size) requestAnimationFrame(() => { const all = [...tips.values()]; tips.clear(); for (const one of all) one(); });
  tips.set(box, show);
}

/** What the curves are at the cursor. By hand and not by a component: it follows every move of the pointer. @param {HTMLDivElement | null} box @param {import("./plot.js").Drawn[]} drawn @param {{left: number, width: number, x: number} | null} at width: of the whole chart @param {import("./options.js").Axis} axis */
function showTip(box, drawn, at, axis) {
  if (!box) return;
  const rows = at === null ? [] : drawn.map((one) => ({ ...one, i: nearest(one.curve.x, at.x) })).filter((one) => one.i >= 0);
  box.hidden = !rows.length;
  if (at === null || !rows.length) return;
  const exact = rows.reduce((best, one) => (Math.abs(one.curve.x[one.i] - at.x) < Math.abs(best.curve.x[best.i] - at.x) ? one : best));
  const { curve, i } = exact;
  const head = document.createElement("div");
  head.className = "tip-head";
  const isWide = curve.from && curve.to && curve.from[i] !== curve.to[i];
  head.textContent = isWide ? `${shownX(curve.from?.[i] ?? 0, axis)} … ${shownX(curve.to?.[i] ?? 0, axis)}` : shownX(curve.x[i], axis);
  rows.sort((a, b) => (b.curve.y[b.i] ?? -Infinity) - (a.curve.y[a.i] ?? -Infinity));
  box.replaceChildren(head, ...rows.slice(0, TOOLTIP_ROWS).map(tipRow));
  if (rows.length > TOOLTIP_ROWS) box.append(`and ${rows.length - TOOLTIP_ROWS} more`);
  const isRight = at.left > at.width / 2 - 52;
  box.style.left = isRight ? "" : `${at.left + 68}px`;
  box.style.right = isRight ? `${at.width - at.left - 40}px` : "";
  if (isRight && box.getBoundingClientRect().left < 4) Object.assign(box.style, { left: `${at.left + 68}px`, right: "" }); // out of the window
}

/** @param {import("./plot.js").Drawn & {i: number}} row */
function tipRow({ curve, colour, label, i }) {
  const row = document.createElement("div");
  const dot = document.createElement("i");
  dot.style.background = colour;
  const name = document.createElement("span");
  name.textContent = label;
  const value = document.createElement("b");
  const raw = curve.line.columns.value?.[i];
  value.textContent = curve.y[i] === null ? formatValue(raw ?? NaN) : formatValue(curve.smooth ? curve.smooth[i] : curve.y[i]);
  row.append(dot, name, value);
  if (curve.low && curve.high && curve.low[i] !== null && curve.low[i] !== curve.high[i]) {
    const spread = document.createElement("small");
    spread.textContent = `${formatValue(curve.low[i])} … ${formatValue(curve.high[i])}`;
    row.append(spread);
  }
  return row;
}

/** @param {{current: HTMLElement | null}} place */
function useWidth(place) {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = /** @type {HTMLElement} */ (place.current);
    const measure = () => setWidth(Math.floor(element.clientWidth));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return width;
}

export function useTheme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme);
  useEffect(() => {
    const changed = () => setTheme(document.documentElement.dataset.theme);
    addEventListener("theme", changed);
    return () => removeEventListener("theme", changed);
  }, []);
  return theme;
}
