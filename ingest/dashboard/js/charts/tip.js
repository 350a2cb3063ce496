/** What the curves of a chart are at the cursor: a box that follows it. */
import { formatValue } from "../format.js";
import { nearest, shownX } from "./plot.js";

const TOOLTIP_ROWS = 12;

/** @type {Map<Element, () => void>} */
const tips = new Map();

/** The tips of all linked charts, once a frame: the pointer moves more often. @param {Element | null} box @param {() => void} show */
export function askForTip(box, show) {
  if (!box) return;
  if (!tips.size) requestAnimationFrame(() => { const all = [...tips.values()]; tips.clear(); for (const one of all) one(); });
  tips.set(box, show);
}

/** What the curves are at the cursor. By hand and not by a component: it follows every move of the pointer. @param {HTMLDivElement | null} box @param {import("./plot.js").Drawn[]} drawn @param {{left: number, width: number, x: number} | null} at width: of the whole chart @param {import("./options.js").Axis} axis */
export function showTip(box, drawn, at, axis) {
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
  const raw = curve.low ? NaN : curve.line.columns.value?.[i]; // where there is no band the curve is the points themselves
  value.textContent = curve.y[i] === null ? formatValue(raw ?? NaN) : formatValue(curve.smooth ? curve.smooth[i] : curve.y[i]);
  row.append(dot, name, value);
  if (curve.low && curve.high && curve.low[i] !== null && curve.low[i] !== curve.high[i]) {
    const spread = document.createElement("small");
    spread.textContent = `${formatValue(curve.low[i])} … ${formatValue(curve.high[i])}`;
    row.append(spread);
  }
  return row;
}
