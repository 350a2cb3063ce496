/** SQL over everything that is stored: editor, schema, saved queries, result as a table and as a quick plot. A link has all of it. */
import { html, useEffect, useMemo, useRef, useState } from "../lib.js";
import { ApiError, get, post, wasAborted } from "../api.js";
import { CopyAs, sqlPython } from "../components/code.js";
import { Grid } from "../components/grid.js";
import { Icon } from "../components/icons.js";
import { useKeys } from "../components/keys.js";
import { LoadingState } from "../components/states.js";
import { copyText } from "../components/toast.js";
import { formatCount, formatDuration } from "../format.js";
import { useLoad } from "../load.js";
import { Editor } from "../sql/editor.js";
import { QuickPlot, isNumeric, plotChoices } from "../sql/plot.js";
import { Saved, Schema } from "../sql/sidebar.js";
import { lineOf } from "../sql/words.js";
import { choice, text, useView } from "../url.js";

const FIRST = "SELECT r.name, r.experiment, r.status, m.key, m.value, m.step\nFROM runs_wide AS r\nJOIN latest_metrics AS m USING (run_id)\nORDER BY r.started_at DESC, m.key\nLIMIT 100";
const VIEW = { sql: text(FIRST), run: choice(/** @type {const} */ (["", "1"])), show: choice(/** @type {const} */ (["table", "plot"])), x: text(), y: text(), by: text(), kind: choice(/** @type {const} */ (["line", "points", "bars"])) };
const MAX_ROWS = 10_000;

/** @typedef {{columns: {name: string, type: string}[], rows: any[][], row_count: number, truncated: boolean, ms: number}} Answer */

export default function Sql() {
  const [view, change] = useView(VIEW);
  const [draft, setDraft] = useState(view.sql);
  const [answer, setAnswer] = useState(/** @type {Answer | null} */ (null));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [errorAt, setErrorAt] = useState(/** @type {number | null} */ (null));
  const running = useRef(/** @type {AbortController | null} */ (null));
  const [isRunning, setRunning] = useState(false);
  const schema = useLoad((signal) => get("/api/v1/sql/schema", { signal }), []);
  const saved = useLoad((signal) => get("/api/v1/saved-queries", { signal }), []);

  const run = async (sql = draft) => {
    running.current?.abort();
    const stop = new AbortController();
    running.current = stop;
    setRunning(true);
    setError(null);
    setErrorAt(null);
    change({ sql, run: "1" }, { replace: sql === view.sql });
    const started = performance.now();
    try {
      const result = await post("/api/v1/sql", { sql, max_rows: MAX_ROWS }, { signal: stop.signal });
      setAnswer({ ...result, ms: performance.now() - started });
    } catch (problem) {
      if (stop.signal.aborted || wasAborted(problem)) return;
      setError(problem);
      setErrorAt(problem instanceof ApiError ? problem.position : null);
    } finally {
      if (running.current === stop) setRunning(false);
    }
  };
  const cancel = () => (running.current?.abort(), setRunning(false));
  useEffect(() => {
    if (view.run) void run(view.sql);
    return () => running.current?.abort();
  }, []);
  useEffect(() => setDraft(view.sql), [view.sql]); // back and forward

  useKeys("SQL", [
    { keys: "r", does: "Run the statement (in the editor: Ctrl Enter)", run: () => void run() },
    { keys: "Escape", does: "Cancel a running statement", run: cancel },
    { keys: "e", does: "Into the editor; Ctrl Space completes", run: () => /** @type {HTMLElement | null} */ (document.querySelector(".editor textarea"))?.focus() },
  ]);
  const python = sqlPython(draft);
  return html`
    <div class="page sql-page">
      <div class="page-head"><h1>SQL</h1><span class="muted">Reads everything that is stored; changes nothing.</span></div>
      <div class="sql-columns">
        <aside class="card sql-side">
          <${Saved} queries=${saved.data?.queries ?? []} current=${draft} onOpen=${(/** @type {any} */ query) => (setDraft(query.sql), void run(query.sql))} onChange=${saved.reload} />
          <${Schema} relations=${schema.data?.relations ?? []} error=${schema.error} onPick=${(/** @type {string} */ word) => setDraft(word.includes("\n") ? word : inserted(draft, word))} />
        </aside>
        <div class="sql-main">
          <div class="card">
            <${Editor} value=${draft} relations=${schema.data?.relations ?? []} errorAt=${errorAt} onInput=${setDraft} onRun=${() => run()} />
            <div class="row sql-bar">
              ${isRunning
                ? html`<button onClick=${cancel}><${Icon} name="close" />Cancel</button><span class="muted" role="status">Running …</span>`
                : html`<button class="primary" onClick=${() => run()} disabled=${!draft.trim()}><${Icon} name="play" />Run</button><kbd>Ctrl</kbd><kbd>Enter</kbd>`}
              <span class="spacer"></span>
              <button class="quiet" onClick=${() => (change({ sql: draft, run: "1" }, { replace: true }), void copyText(location.href, "Link copied"))}><${Icon} name="link" />Share</button>
              <${CopyAs} python=${python} extra=${[{ label: "Command line", run: () => void copyText(`ingest sql ${shellText(draft)}`, "Command copied") }]} />
            </div>
          </div>
          ${error ? html`<${SqlError} error=${error} sql=${draft} />` : null}
          ${answer && !error ? html`<${Result} answer=${answer} view=${view} change=${change} />` : isRunning ? html`<${LoadingState} what="Running" />` : null}
        </div>
      </div>
    </div>`;
}

/** @param {{error: any, sql: string}} props */
function SqlError({ error, sql }) {
  const place = error instanceof ApiError && error.position ? lineOf(sql, error.position) : null;
  return html`
    <div class="card problem-card" role="alert">
      <strong>${error.message}</strong>
      ${place ? html`<pre tabindex="0">${`${sql.split("\n")[place.line - 1]}\n${" ".repeat(place.column - 1)}^ line ${place.line}, column ${place.column}`}</pre>` : null}
      ${error.hint ? html`<p class="muted">${error.hint}</p>` : null}
    </div>`;
}

/** @param {{answer: Answer, view: any, change: any}} props */
function Result({ answer, view, change }) {
  const [sort, setSort] = useState(/** @type {{column: number, down: boolean} | null} */ (null));
  const columns = useMemo(() => answer.columns.map((one) => ({ ...one, title: `${one.name}: ${one.type}`, isNumber: isNumeric(one.type) })), [answer]);
  const rows = useMemo(() => (sort ? [...answer.rows].sort((a, b) => compared(a[sort.column], b[sort.column]) * (sort.down ? -1 : 1)) : answer.rows), [answer, sort]);
  const choices = plotChoices(answer);
  const canPlot = choices.x.length > 0 && choices.y.length > 0;
  const x = choices.x.includes(view.x) ? view.x : (choices.x.find((name) => /step|time|at$/.test(name)) ?? choices.x[0]);
  const y = choices.y.includes(view.y) ? view.y : (choices.y.find((name) => name !== x) ?? choices.y[0]);
  const download = () => {
    const lines = [answer.columns.map((one) => one.name), ...rows].map((row) => row.map(csvText).join(","));
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([lines.join("\r\n")], { type: "text/csv" })), download: "result.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
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

/** @param {any} value */
function csvText(value) {
  const written = value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  return /[",\r\n]/.test(written) ? `"${written.replaceAll('"', '""')}"` : written;
}

/** @param {string} sql */
const shellText = (sql) => `'${sql.replaceAll("'", `'\\''`)}'`;

/** @param {string} text @param {string} word */
const inserted = (text, word) => (text.endsWith(" ") || text.endsWith("\n") || !text ? text + word : `${text} ${word}`);
