/**
 * One uPlot chart of curves: made once, fed with new data, thrown away. No component, no fetching.
 *
 * Curves have steps of their own; uPlot wants one x for all, so they are joined: `undefined` where a curve has no value of its own
 * (the line goes on), `null` where it breaks.
 */
import uPlot from "uplot";
import { formatDuration, formatShort, formatTime, formatValue } from "../format.js";
import { faded } from "./colours.js";

/**
 * @typedef {object} PlotOptions
 * @property {import("./options.js").Axis} x
 * @property {boolean} logx
 * @property {boolean} logy
 * @property {[number, number] | null} rangeX
 * @property {[number, number] | null} rangeY
 * @property {string} syncKey charts with the same one share their cursor
 * @property {(from: number, to: number) => void} onZoom
 * @property {() => void} onReset
 * @property {(at: {left: number, width: number, x: number} | null) => void} onCursor
 *
 * @typedef {object} Drawn
 * @property {import("./series.js").Curve} curve
 * @property {string} colour
 * @property {string} label
 */

const RELATIVE_STEPS = [1, 10, 100, 500, 1e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 18e5, 36e5, 108e5, 216e5, 432e5, 864e5, 1728e5, 6048e5];

/** @param {string} name */
const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * @param {HTMLElement} place
 * @param {Drawn[]} drawn
 * @param {PlotOptions} options
 * @param {{width: number, height: number}} size
 */
export function createPlot(place, drawn, options, size) {
  const { data, series, bands } = laidOut(drawn);
  const now = { drawn, options }; // what the hooks look at; `update` replaces it
  const font = `11px ${token("--font")}`;
  const axis = { stroke: token("--plot-axis"), font, grid: { stroke: token("--plot-grid"), width: 1 }, ticks: { show: false } };
  /** @type {uPlot.Options} */
  const settings = {
    ...size,
    ms: 1,
    series,
    bands,
    legend: { show: false },
    padding: [8, 10, 0, 0],
    scales: {
      x: { time: options.x === "time", distr: options.logx ? 3 : 1, range: (_, low, high) => now.options.rangeX ?? padded(low, high, options.logx) },
      y: { distr: options.logy ? 3 : 1, range: (_, low, high) => now.options.rangeY ?? rangeY(low, high, options.logy) },
    },
    axes: [
      { ...axis, size: 26, space: 62, ...(options.x === "time" ? {} : { values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : shownX(tick, options.x, true))) }), ...(options.x === "relative" && !options.logx ? { incrs: RELATIVE_STEPS } : {}) },
      { ...axis, size: 52, gap: 4, space: 32, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : formatTick(tick, ticks))) },
    ],
    cursor: {
      y: false,
      points: { show: false },
      drag: { x: true, y: false, setScale: false },
      // Of the others a chart hears the cursor only: each would take a zoom for its own, and ask to be drawn first.
      sync: { key: options.syncKey, scales: ["x", null], setSeries: false, filters: { sub: (type) => type === "mousemove" || type === "mouseleave" } },
      bind: { dblclick: () => () => (now.options.onReset(), null) },
    },
    hooks: {
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width < 4) return;
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          const [from, to] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
          now.options.onZoom(from, to);
        },
      ],
      setCursor: [
        (plot) => {
          const { left = -1 } = plot.cursor;
          // Linked charts show the line alone: values over twenty charts at once would hide the curves, and cost a frame.
          const isLookedAt = plot.over.matches(":hover") || place.matches(":focus-visible");
          now.options.onCursor(left < 0 || !isLookedAt ? null : { left, width: plot.width, x: plot.posToVal(left, "x") });
        },
      ],
      draw: [(plot) => (drawSpikes(plot, now.drawn), drawMarks(plot, now.drawn))],
    },
  };
  const plot = new uPlot(settings, data, place);
  return {
    plot,
    /** Other data and ranges for curves of the same kind and colours; keeps the cursor. @param {Drawn[]} next @param {PlotOptions} nextOptions */
    update(next, nextOptions) {
      Object.assign(now, { drawn: next, options: nextOptions });
      plot.setData(laidOut(next).data);
    },
  };
}

/** What can't be changed by `update`. @param {Drawn[]} drawn @param {PlotOptions} options */
export const kindOf = (drawn, { x, logx, logy }) =>
  [document.documentElement.dataset.theme, x, logx, logy, ...drawn.map(({ curve, colour }) => `${colour}${curve.low ? "b" : ""}${curve.smooth ? "s" : ""}${curve.line.form === "points" && curve.x.length <= 40}`)].join();

/**
 * The columns of all curves over one x, with how each is drawn: the band's edges without a line, the raw line, the smoothed one over it.
 * @param {Drawn[]} drawn
 * @returns {{data: uPlot.AlignedData, series: uPlot.Series[], bands: uPlot.Band[]}}
 */
function laidOut(drawn) {
  /** @type {uPlot.Series[]} */ const series = [{}];
  /** @type {uPlot.Band[]} */ const bands = [];
  /** @type {any[]} */ const tables = [];
  for (const { curve, colour } of drawn) {
    const columns = [curve.x];
    const points = { show: false };
    const linear = uPlot.paths.linear?.();
    if (curve.low && curve.high) {
      bands.push({ series: [series.length, series.length + 1], fill: faded(colour, Math.max(0.05, 0.18 / Math.sqrt(drawn.length))) });
      for (const column of [curve.high, curve.low]) {
        columns.push(/** @type {any} */ (column));
        series.push({ stroke: "transparent", width: 0, points, paths: linear });
      }
    }
    columns.push(/** @type {any} */ (curve.y));
    // A lone point makes no line, so it is shown as a dot; as are few raw ones.
    const few = curve.line.form === "points" && curve.x.length <= 40;
    series.push({ stroke: curve.smooth ? faded(colour, 0.3) : colour, width: curve.smooth ? 1 : 1.5, points: { show: few || curve.x.length === 1, size: 4, fill: colour }, paths: linear });
    if (curve.smooth) {
      columns.push(/** @type {any} */ (curve.smooth));
      series.push({ stroke: colour, width: 1.75, points, paths: linear });
    }
    tables.push(columns);
  }
  if (!tables.length) return { data: [[]], series, bands };
  const data = tables.length === 1 ? tables[0] : uPlot.join(tables, tables.map((columns) => columns.map(() => 1)));
  return { data, series, bands };
}

/** One value that stands out of its bucket: a stroke from the bucket's least to its greatest, in the run's colour. @param {uPlot} plot @param {Drawn[]} drawn */
function drawSpikes(plot, drawn) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.lineWidth = 1.25 * devicePixelRatio;
  for (const { curve, colour } of drawn) {
    ctx.strokeStyle = colour;
    ctx.beginPath();
    for (const i of curve.spikes ?? []) {
      const at = plot.valToPos(curve.x[i], "x", true);
      ctx.moveTo(at, plot.valToPos(Number(curve.low?.[i] ?? curve.y[i]), "y", true));
      ctx.lineTo(at, plot.valToPos(Number(curve.high?.[i]), "y", true));
    }
    ctx.stroke();
  }
  ctx.restore();
}

/** Values that are not finite: a small cross on the lower edge, in the run's colour. @param {uPlot} plot @param {Drawn[]} drawn */
function drawMarks(plot, drawn) {
  const { ctx, bbox } = plot;
  const size = 3.5 * devicePixelRatio;
  ctx.save();
  ctx.lineWidth = 1.6 * devicePixelRatio;
  for (const { curve, colour } of drawn) {
    ctx.strokeStyle = colour;
    ctx.beginPath();
    for (const x of curve.marks) {
      const at = plot.valToPos(x, "x", true);
      if (at < bbox.left || at > bbox.left + bbox.width) continue;
      const y = bbox.top + bbox.height - 2 * size;
      ctx.moveTo(at - size, y - size);
      ctx.lineTo(at + size, y + size);
      ctx.moveTo(at - size, y + size);
      ctx.lineTo(at + size, y - size);
    }
    ctx.stroke();
  }
  ctx.restore();
}

/** @param {number} low @param {number} high @param {boolean} isLog @returns {[number, number]} */
function padded(low, high, isLog) {
  if (low === null || !Number.isFinite(low)) return isLog ? [1, 10] : [0, 1];
  if (low !== high) return [low, high];
  return isLog ? [low / 2, low * 2] : [low - 0.5, low + 0.5];
}

/** @param {number} low @param {number} high @param {boolean} isLog @returns {[number, number]} */
function rangeY(low, high, isLog) {
  if (low === null || !Number.isFinite(low)) return isLog ? [0.1, 10] : [0, 1];
  if (isLog) return [low / 1.3, high * 1.3];
  const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}

/** @param {number} value @param {import("./options.js").Axis} axis @param {boolean} [isTick] */
export function shownX(value, axis, isTick = false) {
  if (axis === "time") return formatTime(value);
  if (axis === "relative") return formatDuration(value) || "0";
  return isTick ? formatShort(value) : formatValue(value);
}

/** @param {number} tick @param {number[]} ticks */
function formatTick(tick, ticks) {
  const size = Math.max(...ticks.map((one) => Math.abs(one ?? 0)));
  if (size >= 1e5 || size < 1e-3) return Math.abs(tick) >= 1e3 && Math.abs(tick) < 1e15 ? formatShort(tick) : tick === 0 ? "0" : tick.toExponential(Math.abs(tick).toExponential().includes(".") ? 1 : 0).replace("e+", "e").replace("-", "−");
  return formatValue(Number(tick.toPrecision(6)));
}

/**
 * Where a curve is nearest to x: the index, or -1.
 * @param {ArrayLike<number>} xs in order
 * @param {number} x
 */
export function nearest(xs, x) {
  if (!xs.length) return -1;
  let [low, high] = [0, xs.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle;
    else high = middle;
  }
  return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
}
