/**
 * A table of many rows, of which only those in view are drawn. Rows have one height; columns are as wide as their first rows need.
 *
 * Keyboard: the box scrolls as every scrolling box does. Screen readers are told the number of rows and which ones are there.
 */
import { html, useMemo, useRef, useState } from "../lib.js";

const ROW = 28;
const SPARE = 12;
const SAMPLE = 200;

/**
 * @typedef {object} Column
 * @property {string} name
 * @property {string} [title]
 * @property {boolean} [isNumber] right-aligned
 * @property {(value: any, row: any[]) => any} [show]
 */

/** @param {{columns: Column[], rows: any[][], label: string, height?: number, sort?: {column: number, down: boolean} | null, onSort?: (column: number) => void}} props */
export function Grid({ columns, rows, label, height = 420, sort, onSort }) {
  const [top, setTop] = useState(0);
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const widths = useMemo(() => columns.map((column, i) => widthOf(column, rows, i)), [columns, rows]);
  const from = Math.max(0, Math.floor(top / ROW) - SPARE);
  const to = Math.min(rows.length, Math.ceil((top + height) / ROW) + SPARE);
  const template = `min-width: ${widths.reduce((a, b) => a + b, 0)}px; grid-template-columns: ${widths.map((width) => `minmax(${width}px, ${Math.round(1.6 * width)}px)`).join(" ")} minmax(0, 1fr)`;
  return html`
    <div class="grid" style=${`max-height: ${height}px`} ref=${box} tabindex="0" role="table" aria-label=${label} aria-rowcount=${rows.length + 1}
      onScroll=${() => setTop(box.current?.scrollTop ?? 0)}>
      <div class="grid-row grid-head" role="row" aria-rowindex="1" style=${template}>
        ${columns.map((column, i) => html`
          <span role="columnheader" class=${column.isNumber ? "number" : ""} title=${column.title ?? column.name} aria-sort=${sort?.column === i ? (sort.down ? "descending" : "ascending") : undefined}>
            ${onSort ? html`<button class="quiet" onClick=${() => onSort(i)}>${column.name}${sort?.column === i ? (sort.down ? " ↓" : " ↑") : ""}</button>` : column.name}
          </span>`)}
      </div>
      <div role="rowgroup" style=${`height: ${rows.length * ROW}px; padding-top: ${from * ROW}px`}>
        ${rows.slice(from, to).map((row, i) => html`
          <div class="grid-row" role="row" aria-rowindex=${from + i + 2} style=${template} key=${from + i}>
            ${columns.map((column, j) => {
              const value = column.show ? column.show(row[j], row) : shown(row[j]);
              return html`<span role="cell" class=${column.isNumber ? "number" : ""} title=${typeof value === "string" && value.length > 24 ? value : undefined}>${row[j] === null ? html`<i class="null">null</i>` : value}</span>`;
            })}
          </div>`)}
      </div>
    </div>`;
}

/** @param {any} value */
export const shown = (value) => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

/** @param {Column} column @param {any[][]} rows @param {number} i */
function widthOf(column, rows, i) {
  /** @param {any[]} row */
  const length = (row) => {
    const drawn = column.show?.(row[i], row);
    return (typeof drawn === "string" ? drawn : shown(row[i])).length;
  };
  const longest = rows.slice(0, SAMPLE).reduce((most, row) => Math.max(most, length(row)), column.name.length + 2);
  return Math.round(Math.min(Math.max(longest, 5), 46) * 8.1 + 22);
}
