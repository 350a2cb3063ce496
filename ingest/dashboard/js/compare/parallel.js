/** Parallel coordinates: an axis for each chosen field, a line for each run. Dragging along an axis keeps the runs that pass there. */
import { html, useRef, useState } from "../lib.js";
import { useWidth } from "../components/width.js";
import { formatValue } from "../format.js";
import { brushed, scaleOf } from "./data.js";

const HEIGHT = 360;
const TOP = 46;
const BOTTOM = 24;
const SPAN = HEIGHT - TOP - BOTTOM;
const KEY_STEP = 0.1;

/** @typedef {Record<string, [number, number]>} Brushes from 0 to 1, by axis */
/** @typedef {ReturnType<typeof scaleOf>} Scale */

/** @param {number} place */
const atY = (place) => TOP + (1 - place) * SPAN;

/**
 * @param {{runs: {id: string, name: string, colour: string}[], axes: import("./data.js").Field[], brushes: Brushes,
 *   setBrushes: (brushes: Brushes) => void, highlight: string, setHighlight: (id: string) => void}} props
 */
export function Parallel({ runs, axes, brushes, setBrushes, highlight, setHighlight }) {
  const svg = useRef(/** @type {SVGSVGElement | null} */ (null));
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const { begin, move, end, onKey } = useBrushing(svg, brushes, setBrushes);
  const width = Math.max(useWidth(box), 360, axes.length * 120);
  /** @param {number} i */
  const atX = (i) => 70 + (axes.length > 1 ? (i * (width - 140)) / (axes.length - 1) : (width - 140) / 2);
  const scales = axes.map(scaleOf);
  const passes = brushed(axes, brushes, runs.length);
  const order = [...runs.keys()].sort((a, b) => Number(passes[a]) - Number(passes[b]) || Number(runs[a].id === highlight) - Number(runs[b].id === highlight));
  return html`
    <div class="scroll-x" ref=${box} tabindex="0" role="region" aria-label="Parallel coordinates">
      <svg ref=${svg} class="parallel" viewBox=${`0 0 ${width} ${HEIGHT}`} style=${`width: ${width}px; height: ${HEIGHT}px`} onPointerMove=${move} onPointerUp=${end}>
        <g fill="none">
          ${order.map((i) => html`
            <path key=${runs[i].id} d=${pathOf(i, scales, atX)} stroke=${runs[i].colour} class=${passes[i] ? (runs[i].id === highlight ? "high" : "") : "out"} onPointerEnter=${() => setHighlight(runs[i].id)} onPointerLeave=${() => setHighlight("")}><title>${runs[i].name}</title></path>`)}
        </g>
        ${axes.map((axis, i) => html`<${Axis} key=${axis.id} axis=${axis} scale=${scales[i]} x=${atX(i)} isLast=${i === axes.length - 1} brush=${brushes[axis.id]} begin=${begin} onKey=${onKey} />`)}
      </svg>
    </div>`;
}

/** @param {{axis: import("./data.js").Field, scale: Scale, x: number, isLast: boolean, brush?: [number, number], begin: (event: PointerEvent, id: string) => void, onKey: (event: KeyboardEvent, id: string) => void}} props */
function Axis({ axis, scale, x, isLast, brush, begin, onKey }) {
  /** @param {number | string} label */
  const told = (label) => (typeof label === "number" ? formatValue(Number(label.toPrecision(3))) : label.length > 9 ? `${label.slice(0, 8)}…` : label);
  return html`
    <g transform=${`translate(${x},0)`}>
      <text class="axis-name" y="18" text-anchor="middle">${axis.label.length > 22 ? `…${axis.label.slice(-21)}` : axis.label}<title>${axis.label}</title></text>
      <text class="axis-kind" y="33" text-anchor="middle">${axis.kind}${scale.isLog ? ", log" : ""}</text>
      <line y1=${TOP} y2=${TOP + SPAN} />
      ${scale.ticks.map((tick) => html`<text class="tick" x=${isLast ? 8 : -8} y=${atY(tick.at) + 4} text-anchor=${isLast ? "start" : "end"}>${told(tick.label)}</text>`)}
      ${brush ? html`<rect class="brush" x="-9" width="18" y=${atY(brush[1])} height=${Math.max(2, (brush[1] - brush[0]) * SPAN)} rx="3" />` : null}
      <rect class="catch" x="-14" width="28" y=${TOP - 6} height=${SPAN + 12} tabindex="0" role="slider" aria-label=${`Range of ${axis.label}`} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round((brush?.[1] ?? 1) * 100)}
        aria-valuetext=${brush ? `${Math.round(brush[0] * 100)} to ${Math.round(brush[1] * 100)} percent` : "everything"}
        onPointerDown=${(/** @type {PointerEvent} */ event) => begin(event, axis.id)} onKeyDown=${(/** @type {KeyboardEvent} */ event) => onKey(event, axis.id)} />
    </g>`;
}

/** A run's line over the axes, broken where it has no value. @param {number} run @param {Scale[]} scales @param {(i: number) => number} atX */
function pathOf(run, scales, atX) {
  /** @type {string[]} */ const pieces = [];
  scales.forEach(({ places }, i) => {
    if (Number.isNaN(places[run])) return;
    const goesOn = i > 0 && !Number.isNaN(scales[i - 1].places[run]);
    const [x, y] = [atX(i), atY(places[run])];
    const before = goesOn ? [atX(i - 1), atY(scales[i - 1].places[run])] : null;
    const middle = before ? (before[0] + x) / 2 : 0;
    pieces.push(before ? `C${middle},${before[1]} ${middle},${y} ${x},${y}` : `M${x},${y}`);
  });
  return pieces.join("");
}

/** Brushing by pointer and by keys. @param {{current: SVGSVGElement | null}} svg @param {Brushes} brushes @param {(brushes: Brushes) => void} setBrushes */
function useBrushing(svg, brushes, setBrushes) {
  const [drag, setDrag] = useState(/** @type {{id: string, from: number} | null} */ (null));
  /** @param {PointerEvent} event */
  const placeOf = (event) => {
    const { top, height } = /** @type {SVGSVGElement} */ (svg.current).getBoundingClientRect();
    return Math.min(1, Math.max(0, 1 - (((event.clientY - top) / height) * HEIGHT - TOP) / SPAN));
  };
  /** @param {string} id @param {[number, number] | null} brush */
  const setBrush = (id, brush) => {
    const { [id]: _, ...others } = brushes;
    setBrushes(brush ? { ...others, [id]: brush } : others);
  };
  /** @param {PointerEvent} event @param {string} id */
  const begin = (event, id) => {
    /** @type {Element} */ (event.target).setPointerCapture(event.pointerId);
    setDrag({ id, from: placeOf(event) });
  };
  /** @param {PointerEvent} event */
  const move = (event) => {
    if (!drag) return;
    const to = placeOf(event);
    setBrush(drag.id, Math.abs(to - drag.from) < 0.015 ? null : [Math.min(to, drag.from), Math.max(to, drag.from)]);
  };
  /** Up and down move the brush, with shift its lower end; Escape takes it away. @param {KeyboardEvent} event @param {string} id */
  const onKey = (event, id) => {
    const by = { ArrowUp: KEY_STEP, ArrowDown: -KEY_STEP }[event.key];
    if (event.key === "Escape") return void (event.preventDefault(), setBrush(id, null));
    if (!by) return;
    event.preventDefault();
    const [low, high] = brushes[id] ?? [0, 1];
    const next = event.shiftKey ? [low + by, high] : [low, high + by];
    setBrush(id, [Math.max(0, Math.min(next[0], next[1] - 0.02)), Math.min(1, Math.max(next[1], next[0] + 0.02))]);
  };
  return { begin, move, end: () => setDrag(null), onKey };
}
