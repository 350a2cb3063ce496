/** One point for each run, over any two fields; and bars, one for each run. */
import { html, useRef } from "../lib.js";
import { useWidth } from "../components/width.js";
import { formatValue } from "../format.js";
import { numberOf, scaleOf } from "./data.js";

const [HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [380, 84, 20, 16, 46];

/** @typedef {{id: string, name: string, colour: string}} ComparedRun */

/** @param {{runs: ComparedRun[], x: import("./data.js").Field, y: import("./data.js").Field, highlight: string, setHighlight: (id: string) => void}} props */
export function Scatter({ runs, x, y, highlight, setHighlight }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const width = Math.max(useWidth(box), 300);
  const [across, up] = [scaleOf(x), scaleOf(y)];
  /** @param {number} place */
  const atX = (place) => LEFT + 14 + place * (width - LEFT - RIGHT - 28);
  /** @param {number} place */
  const atY = (place) => TOP + 14 + (1 - place) * (HEIGHT - TOP - BOTTOM - 28);
  const shown = runs.map((run, i) => ({ run, i, px: across.places[i], py: up.places[i] })).filter(({ px, py }) => !Number.isNaN(px) && !Number.isNaN(py));
  const high = shown.find(({ run }) => run.id === highlight);
  return html`
    <div ref=${box}><svg class="scatter" style=${`height: ${HEIGHT}px`} viewBox=${`0 0 ${width} ${HEIGHT}`} role="group" aria-label=${`${y.label} over ${x.label}, ${shown.length} runs`}>
      ${up.ticks.map((tick) => html`<line class="grid-line" x1=${LEFT} x2=${width - RIGHT} y1=${atY(tick.at)} y2=${atY(tick.at)} /><text class="tick" x=${LEFT - 8} y=${atY(tick.at) + 4} text-anchor="end">${told(tick.label)}</text>`)}
      ${across.ticks.map((tick) => html`<line class="grid-line" y1=${TOP} y2=${HEIGHT - BOTTOM} x1=${atX(tick.at)} x2=${atX(tick.at)} /><text class="tick" x=${atX(tick.at)} y=${HEIGHT - BOTTOM + 16} text-anchor="middle">${told(tick.label)}</text>`)}
      <text class="axis-name" x=${(LEFT + width) / 2} y=${HEIGHT - 8} text-anchor="middle">${x.label}${across.isLog ? " (log)" : ""}</text>
      <text class="axis-name" transform=${`translate(14,${HEIGHT / 2}) rotate(-90)`} text-anchor="middle">${y.label}${up.isLog ? " (log)" : ""}</text>
      ${shown.map(({ run, i, px, py }) => html`
        <a href=${`/runs/${run.id}`} key=${run.id} aria-label=${`${run.name}: ${x.label} ${told(x.values[i])}, ${y.label} ${told(y.values[i])}`}>
          <circle cx=${atX(px)} cy=${atY(py)} r=${run.id === highlight ? 8 : 5.5} fill=${run.colour} onPointerEnter=${() => setHighlight(run.id)} onPointerLeave=${() => setHighlight("")}><title>${run.name}\n${x.label}: ${told(x.values[i])}\n${y.label}: ${told(y.values[i])}</title></circle>
        </a>`)}
      ${high ? html`<text class="axis-name" x=${Math.min(atX(high.px) + 11, width - 150)} y=${atY(high.py) - 10}>${high.run.name}</text>` : null}
    </svg></div>`;
}

/** @param {any} value */
const told = (value) => (typeof value === "number" ? formatValue(Number(value.toPrecision(3))) : String(value ?? "").slice(0, 12));

/** @param {{runs: ComparedRun[], field: import("./data.js").Field, highlight: string, setHighlight: (id: string) => void}} props */
export function Bars({ runs, field, highlight, setHighlight }) {
  const numbers = field.values.map(numberOf);
  const finite = numbers.filter(Number.isFinite);
  const [low, high] = [Math.min(0, ...finite), Math.max(0, ...finite)];
  const span = high - low || 1;
  const order = [...runs.keys()].sort((a, b) => (Number.isNaN(numbers[b]) ? -1 : Number.isNaN(numbers[a]) ? 1 : numbers[b] - numbers[a]));
  return html`
    <ol class="bars" aria-label=${`${field.label} of each run`}>
      ${order.map((i) => html`
        <li key=${runs[i].id} class=${runs[i].id === highlight ? "high" : ""} onPointerEnter=${() => setHighlight(runs[i].id)} onPointerLeave=${() => setHighlight("")}>
          <a class="truncate" href=${`/runs/${runs[i].id}`}>${runs[i].name}</a>
          <span class="bar">${Number.isFinite(numbers[i]) ? html`<i style=${`left: ${(100 * (Math.min(0, numbers[i]) - low)) / span}%; width: ${Math.max(0.4, (100 * Math.abs(numbers[i])) / span)}%; background: ${runs[i].colour}`}></i>` : null}</span>
          <span class="number">${field.values[i] === null ? "–" : formatValue(field.values[i])}</span>
        </li>`)}
    </ol>`;
}
