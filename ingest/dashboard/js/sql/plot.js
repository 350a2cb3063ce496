/** A quick plot of a result: a number or time on x, numbers on y, one line for each value of a text column if wanted. */
import uPlot from "uplot";
import { html, useEffect, useRef } from "../lib.js";
import { PALETTE } from "../charts/colours.js";

const MOST_LINES = 12;
const NUMBERS = /^(int|float|numeric|oid)/;
const TIMES = /^(timestamp|date)/;

/** @typedef {{columns: {name: string, type: string}[], rows: any[][]}} Result */

/** @param {string} type */
export const isNumeric = (type) => NUMBERS.test(type);
/** @param {string} type */
const isPlace = (type) => NUMBERS.test(type) || TIMES.test(type);

/** What can stand where. @param {Result} result */
export const plotChoices = ({ columns }) => ({
  x: columns.filter((one) => isPlace(one.type)).map((one) => one.name),
  y: columns.filter((one) => NUMBERS.test(one.type)).map((one) => one.name),
  by: columns.filter((one) => !isPlace(one.type)).map((one) => one.name),
});

/** @param {any} value @param {string} type */
const placeOf = (value, type) => (value === null ? NaN : TIMES.test(type) ? Date.parse(value) / 1000 : Number(value));

/**
 * The rows as lines: name, and y by x.
 * @param {Result} result @param {string} x @param {string} y @param {string} by
 */
export function linesOf({ columns, rows }, x, y, by) {
  const [xi, yi, bi] = [x, y, by].map((name) => columns.findIndex((one) => one.name === name));
  /** @type {Map<string, Map<number, number>>} */
  const lines = new Map();
  for (const row of rows) {
    const place = placeOf(row[xi], columns[xi].type);
    if (!Number.isFinite(place)) continue;
    const name = bi < 0 ? y : String(row[bi]);
    const line = lines.get(name) ?? new Map();
    line.set(place, Number(row[yi]));
    lines.set(name, line);
  }
  const shown = [...lines].slice(0, MOST_LINES);
  const places = [...new Set(shown.flatMap(([, line]) => [...line.keys()]))].sort((a, b) => a - b);
  /** @param {Map<number, number>} line */
  const column = (line) => places.map((place) => (line.has(place) ? (Number.isFinite(line.get(place)) ? line.get(place) : null) : undefined));
  return { names: shown.map(([name]) => name), left: lines.size - shown.length, data: [places, ...shown.map(([, line]) => column(line))] };
}

/** @param {{result: Result, x: string, y: string, by: string, kind: string}} props */
export function QuickPlot({ result, x, y, by, kind }) {
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  const { names, left, data } = linesOf(result, x, y, by);
  useEffect(() => {
    const box = place.current;
    if (!box || !data[0].length) return;
    const token = (/** @type {string} */ name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const draw = () => {
      const axis = { stroke: token("--plot-axis"), font: `11px ${token("--font")}`, grid: { stroke: token("--plot-grid"), width: 1 }, ticks: { show: false } };
      const isTime = TIMES.test(result.columns.find((one) => one.name === x)?.type ?? "");
      const bars = kind === "bars" ? uPlot.paths.bars?.({ size: [0.7, 60] }) : undefined;
      return new uPlot(
        {
          width: box.clientWidth,
          height: 300,
          scales: { x: { time: isTime } },
          axes: [{ ...axis, size: 28 }, { ...axis, size: 60 }],
          legend: { show: true, live: true },
          series: [
            { label: x },
            ...names.map((label, i) => ({
              label,
              stroke: PALETTE[i % PALETTE.length],
              width: kind === "points" ? 0 : 1.5,
              spanGaps: true,
              ...(bars ? { paths: bars, fill: `${PALETTE[i % PALETTE.length]}99` } : {}),
              points: { show: kind === "points", size: 6, fill: PALETTE[i % PALETTE.length] },
            })),
          ],
        },
        /** @type {any} */ (data),
        box,
      );
    };
    let plot = draw();
    const redraw = () => (plot.destroy(), (plot = draw()));
    const watcher = new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: 300 }));
    watcher.observe(box);
    addEventListener("theme", redraw);
    return () => (watcher.disconnect(), removeEventListener("theme", redraw), plot.destroy());
  }, [result, x, y, by, kind]);
  if (!data[0].length) return html`<p class="muted pad">No row has a number in ${x}.</p>`;
  return html`<div class="quick-plot" role="img" aria-label=${`${y} over ${x}`} ref=${place}></div>${left > 0 ? html`<p class="muted pad">The first ${MOST_LINES} of ${MOST_LINES + left} lines.</p>` : null}`;
}
