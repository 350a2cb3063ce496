/** What a statement gave: rows as a table or a quick plot, or what was wrong with it and where. */
import { html, useMemo, useState } from "../lib.js";
import { ApiError } from "../api.js";
import { Grid } from "../components/grid.js";
import { Icon } from "../components/icons.js";
import { saveCsv } from "../components/save.js";
import { formatCount, formatDuration } from "../format.js";
import { QuickPlot, isNumeric, plotChoices } from "./plot.js";
import { lineOf } from "./words.js";

/** @typedef {{columns: {name: string, type: string}[], rows: any[][], row_count: number, truncated: boolean, ms: number}} Answer */

/** @param {{error: any, sql: string}} props */
export function SqlError({ error, sql }) {
  const place = error instanceof ApiError && error.position ? lineOf(sql, error.position) : null;
  return html`
    <div class="card problem-card" role="alert">
      <strong>${error.message}</strong>
      ${place ? html`<pre tabindex="0">${`${sql.split("\n")[place.line - 1]}\n${" ".repeat(place.column - 1)}^ line ${place.line}, column ${place.column}`}</pre>` : null}
      ${error.hint ? html`<p class="muted">${error.hint}</p>` : null}
    </div>`;
}

/** @param {{answer: Answer, view: any, change: any}} props */
export function Result({ answer, view, change }) {
  const [sort, setSort] = useState(/** @type {{column: number, down: boolean} | null} */ (null));
  const columns = useMemo(() => answer.columns.map((one) => ({ ...one, title: `${one.name}: ${one.type}`, isNumber: isNumeric(one.type) })), [answer]);
  const rows = useMemo(() => (sort ? [...answer.rows].sort((a, b) => compared(a[sort.column], b[sort.column]) * (sort.down ? -1 : 1)) : answer.rows), [answer, sort]);
  const choices = plotChoices(answer);
  const canPlot = choices.x.length > 0 && choices.y.length > 0;
  const x = choices.x.includes(view.x) ? view.x : (choices.x.find((name) => /step|time|at$/.test(name)) ?? choices.x[0]);
  const y = choices.y.includes(view.y) ? view.y : (choices.y.find((name) => name !== x) ?? choices.y[0]);
  const download = () => saveCsv("result.csv", [answer.columns.map((one) => one.name), ...rows]);
  /** @param {string} name @param {string} label @param {string} value @param {string[]} options */
  const select = (name, label, value, options) => html`<label class="row">${label}<select value=${value} onChange=${(/** @type {any} */ event) => change({ [name]: event.target.value })}>${options.map((one) => html`<option value=${one}>${one || "–"}</option>`)}</select></label>`;
  return html`
    <div class="card">
      <header>
        <strong>${formatCount(answer.row_count)} ${answer.row_count === 1 ? "row" : "rows"}</strong><span class="muted">${answer.truncated ? "the first ones; the rest was not fetched · " : ""}${formatDuration(answer.ms)}</span>
        <span class="spacer"></span>
        <div class="segmented" role="group" aria-label="Show the result as">
          ${["table", "plot"].map((one) => html`<button aria-pressed=${view.show === one} disabled=${one === "plot" && !canPlot} onClick=${() => change({ show: one })}>${one === "table" ? "Table" : "Plot"}</button>`)}
        </div>
        <button class="icon-button" title="Download as CSV" aria-label="Download as CSV" onClick=${download}><${Icon} name="download" /></button>
      </header>
      ${view.show === "plot" && canPlot
        ? html`
            <div class="row pad">${select("x", "x", x, choices.x)}${select("y", "y", y, choices.y)}${select("by", "line for each", view.by, ["", ...choices.by])}${select("kind", "as", view.kind, ["line", "points", "bars"])}</div>
            <${QuickPlot} result=${answer} x=${x} y=${y} by=${view.by} kind=${view.kind} />`
        : html`<${Grid} label="Result" columns=${columns} rows=${rows} height=${Math.max(280, innerHeight - 420)} sort=${sort} onSort=${(/** @type {number} */ column) => setSort({ column, down: sort?.column === column ? !sort.down : false })} />`}
    </div>`;
}

/** Null last; numbers by value. @param {any} a @param {any} b */
function compared(a, b) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}
