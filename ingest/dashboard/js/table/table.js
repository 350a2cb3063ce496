/**
 * A table of any length: only the rows in sight are there. Columns can be resized, reordered and kept in sight; rows are walked by keys.
 *
 * It knows nothing about runs: what a cell shows is the column's business.
 *
 * @template R
 * @typedef {object} Column
 * @property {string} id
 * @property {string} label
 * @property {number} width pixels
 * @property {(row: R, i: number) => any} cell
 * @property {boolean} [isNumeric]
 * @property {boolean} [isFixed] neither moved nor resized nor sorted by
 * @property {any} [head] instead of the label
 */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib.js";
import { Icon } from "../components/icons.js";

const ROW = 32;
const HEAD = 34;
const BEYOND = 12; // rows above and below the ones in sight
const MIN_WIDTH = 56;

/**
 * @param {object} props
 * @param {Column<any>[]} props.columns
 * @param {any[]} props.rows
 * @param {(row: any) => string} props.idOf
 * @param {number} props.pinned how many columns stay in sight
 * @param {string} props.label
 * @param {string} [props.order] a column's id, with ` DESC` for the other way round
 * @param {(order: string) => void} [props.onOrder]
 * @param {(id: string, width: number) => void} [props.onResize]
 * @param {(id: string, before: string) => void} [props.onMove]
 * @param {(row: any) => void} [props.onOpen] Enter or a double click
 * @param {(row: any) => void} [props.onToggle] space
 * @param {() => void} [props.onEnd] the last rows are in sight
 * @param {(row: any) => string} [props.classOf]
 */
export function Table({ columns, rows, idOf, pinned, label, order = "", onOrder, onResize, onMove, onOpen, onToggle, onEnd, classOf }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const view = useScroll(box);
  const first = Math.max(0, Math.floor(view.top / ROW) - BEYOND);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + BEYOND);
  const template = columns.map(({ width }) => `${width}px`).join(" ");
  const width = columns.reduce((sum, one) => sum + one.width, 0);
  const lefts = columns.map((_, i) => columns.slice(0, i).reduce((sum, one) => sum + one.width, 0));

  useEffect(() => {
    if (last >= rows.length - 20) onEnd?.();
  }, [last, rows.length, onEnd]);
  const { at, onKey, onFocus, onFocusOut } = useWalk({ box, rows, first, height: view.height, onOpen, onToggle });
  /** @param {number} i */
  const pin = (i) => (i < pinned ? { left: `${lefts[i]}px` } : undefined);
  return html`
    <div class="table" role="table" aria-label=${label} aria-rowcount=${rows.length + 1} ref=${box} onKeyDown=${onKey} onFocusOut=${onFocusOut}>
      <div class="table-head" role="row" style=${{ gridTemplateColumns: template, width: `${width}px` }}>
        ${columns.map((column, i) => html`<${Head} key=${column.id} column=${column} order=${order} isPinned=${i < pinned} style=${pin(i)} before=${movable(columns[i - 1])} behind=${movable(columns[i + 1])} onOrder=${onOrder} onResize=${onResize} onMove=${onMove} />`)}
      </div>
      <div class="table-body" role="rowgroup" style=${{ height: `${rows.length * ROW}px`, width: `${width}px` }}>
        ${rows.slice(first, last).map((row, offset) => {
          const i = first + offset;
          return html`
            <div class=${`table-row ${classOf?.(row) ?? ""}`} role="row" key=${idOf(row)} data-row=${i} data-id=${idOf(row)} aria-rowindex=${i + 2} tabindex=${i === at ? 0 : -1}
              style=${{ top: `${i * ROW}px`, gridTemplateColumns: template }} onFocus=${() => onFocus(i)} onDblClick=${() => onOpen?.(row)}>
              ${columns.map((column, n) => html`<div role="cell" key=${column.id} class=${`cell${column.isNumeric ? " numeric" : ""}${n < pinned ? " pinned" : ""}`} style=${pin(n)}>${column.cell(row, i)}</div>`)}
            </div>`;
        })}
      </div>
    </div>`;
}

/** @param {Column<any> | undefined} column */
const movable = (column) => (column && !column.isFixed ? column.id : undefined);

/** Which stretch of the table is in sight. @param {{current: HTMLDivElement | null}} box */
function useScroll(box) {
  const [view, setView] = useState({ top: 0, height: 600 });
  useLayoutEffect(() => {
    const element = /** @type {HTMLDivElement} */ (box.current);
    const measure = () => setView((before) => (before.top === element.scrollTop && before.height === element.clientHeight ? before : { top: element.scrollTop, height: element.clientHeight }));
    measure();
    element.addEventListener("scroll", measure, { passive: true });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => (element.removeEventListener("scroll", measure), observer.disconnect());
  }, []);
  return view;
}

/**
 * One row has the focus; keys hand it on, and the table scrolls along.
 * @param {{box: {current: HTMLDivElement | null}, rows: any[], first: number, height: number, onOpen?: (row: any) => void, onToggle?: (row: any) => void}} props
 */
function useWalk({ box, rows, first, height, onOpen, onToggle }) {
  const [at, setAt] = useState(0);
  const hasFocus = useRef(false);
  useEffect(() => {
    if (hasFocus.current) /** @type {HTMLElement | null | undefined} */ (box.current?.querySelector(`[data-row="${at}"]`))?.focus({ preventScroll: true });
  }, [at, first]);
  /** @param {number} to */
  const walk = (to) => {
    const next = Math.max(0, Math.min(rows.length - 1, to));
    const element = /** @type {HTMLDivElement} */ (box.current);
    if (next * ROW < element.scrollTop) element.scrollTop = next * ROW;
    else if ((next + 1) * ROW + HEAD > element.scrollTop + element.clientHeight) element.scrollTop = (next + 1) * ROW + HEAD - element.clientHeight;
    hasFocus.current = true;
    setAt(next);
  };
  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (/^(INPUT|BUTTON|A)$/.test(target.tagName) && event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const page = Math.floor(height / ROW) - 2;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, j: at + 1, k: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: rows.length - 1 }[event.key];
    if (to !== undefined) walk(to);
    else if (event.key === "Enter") onOpen?.(rows[at]);
    else if (event.key === " " || event.key === "x") onToggle?.(rows[at]);
    else return;
    event.preventDefault();
  };
  return { at, onKey, onFocus: (/** @type {number} */ i) => ((hasFocus.current = true), setAt(i)), onFocusOut: () => (hasFocus.current = false) };
}

/** @param {{column: Column<any>, order: string, isPinned: boolean, style: any, before?: string, behind?: string, onOrder?: (order: string) => void, onResize?: (id: string, width: number) => void, onMove?: (id: string, before: string) => void}} props */
function Head({ column, order, isPinned, style, before, behind, onOrder, onResize, onMove }) {
  const { id, label, isFixed, isNumeric, head, width } = column;
  const sorted = order === id ? "ascending" : order === `${id} DESC` ? "descending" : undefined;
  // Numbers begin with the greatest, texts with A; the second click turns it round, the third ends it.
  const turns = isNumeric ? [`${id} DESC`, id, ""] : [id, `${id} DESC`, ""];
  const next = sorted ? turns[turns.indexOf(order) + 1] : turns[0];
  /** @param {PointerEvent} event */
  const startResize = (event) => {
    const handle = /** @type {HTMLElement} */ (event.currentTarget);
    const from = event.clientX;
    event.preventDefault();
    event.stopPropagation();
    handle.setPointerCapture(event.pointerId);
    const move = (/** @type {PointerEvent} */ to) => onResize?.(id, Math.max(MIN_WIDTH, Math.round(width + to.clientX - from)));
    handle.addEventListener("pointermove", move);
    handle.addEventListener("lostpointercapture", () => handle.removeEventListener("pointermove", move), { once: true });
  };
  /** @param {KeyboardEvent} event */
  const resizeByKey = (event) => {
    const by = { ArrowLeft: -16, ArrowRight: 16 }[event.key];
    if (by) (event.preventDefault(), event.stopPropagation(), onResize?.(id, Math.max(MIN_WIDTH, width + by)));
  };
  /** With Alt the arrows move the column itself. @param {KeyboardEvent} event */
  const moveByKey = (event) => {
    const to = event.altKey && { ArrowLeft: before, ArrowRight: behind }[event.key];
    if (to) (event.preventDefault(), event.stopPropagation(), event.key === "ArrowLeft" ? onMove?.(id, to) : onMove?.(to, id));
  };
  if (isFixed) return html`<div role="columnheader" class=${`head${isPinned ? " pinned" : ""}`} style=${style}>${head ?? html`<span class="sr-only">${label}</span>`}</div>`;
  return html`
    <div role="columnheader" class=${`head${isPinned ? " pinned" : ""}${isNumeric ? " numeric" : ""}`} style=${style} aria-sort=${sorted} draggable
      onDragStart=${(/** @type {DragEvent} */ event) => event.dataTransfer?.setData("text/column", id)} onDragOver=${(/** @type {DragEvent} */ event) => event.preventDefault()}
      onDrop=${(/** @type {DragEvent} */ event) => { const moved = event.dataTransfer?.getData("text/column"); if (moved && moved !== id) (event.preventDefault(), onMove?.(moved, id)); }}>
      <button class="head-button" title=${`${label}: sort`} aria-keyshortcuts="Alt+ArrowLeft Alt+ArrowRight" onKeyDown=${moveByKey} onClick=${() => onOrder?.(next)}><span class="truncate">${label}</span>${sorted ? html`<${Icon} name=${sorted === "ascending" ? "up" : "down"} size=${12} />` : null}</button>
      <span class="resizer" role="separator" aria-orientation="vertical" aria-label=${`Width of ${label}`} aria-valuenow=${width} tabindex="0" onPointerDown=${startResize} onKeyDown=${resizeByKey}></span>
    </div>`;
}
