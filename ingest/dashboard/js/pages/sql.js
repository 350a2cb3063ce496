/** SQL over everything that is stored: editor, schema, saved queries, result as a table and as a quick plot. A link has all of it. */
import { html, useEffect, useRef, useState } from "../lib.js";
import { ApiError, get, post, wasAborted } from "../api.js";
import { CopyAs, sqlPython } from "../components/code.js";
import { Icon } from "../components/icons.js";
import { useKeys } from "../components/keys.js";
import { LoadingState } from "../components/states.js";
import { copyText } from "../components/toast.js";
import { useLoad } from "../load.js";
import { Editor } from "../sql/editor.js";
import { Result, SqlError } from "../sql/result.js";
import { Saved, Schema } from "../sql/sidebar.js";
import { choice, text, useView } from "../url.js";

const FIRST = "SELECT r.name, r.experiment, r.status, m.key, m.value, m.step\nFROM runs_wide AS r\nJOIN latest_metrics AS m USING (run_id)\nORDER BY r.started_at DESC, m.key\nLIMIT 100";
const VIEW = { sql: text(FIRST), run: choice(/** @type {const} */ (["", "1"])), show: choice(/** @type {const} */ (["table", "plot"])), x: text(), y: text(), by: text(), kind: choice(/** @type {const} */ (["line", "points", "bars"])) };
const MAX_ROWS = 10_000;

export default function Sql() {
  const [view, change] = useView(VIEW);
  const [draft, setDraft] = useState(view.sql);
  const { answer, error, errorAt, isRunning, run, cancel } = useStatement(view, change);
  const schema = useLoad((signal) => get("/api/v1/sql/schema", { signal }), []);
  const saved = useLoad((signal) => get("/api/v1/saved-queries", { signal }), []);
  useEffect(() => setDraft(view.sql), [view.sql]); // back and forward

  useKeys("SQL", [
    { keys: "r", does: "Run the statement (in the editor: Ctrl Enter)", run: () => void run(draft) },
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
            <${Editor} value=${draft} relations=${schema.data?.relations ?? []} errorAt=${errorAt} onInput=${setDraft} onRun=${() => run(draft)} />
            <div class="row sql-bar">
              ${isRunning
                ? html`<button onClick=${cancel}><${Icon} name="close" />Cancel</button><span class="muted" role="status">Running …</span>`
                : html`<button class="primary" onClick=${() => run(draft)} disabled=${!draft.trim()}><${Icon} name="play" />Run</button><kbd>Ctrl</kbd><kbd>Enter</kbd>`}
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

/** The statement that runs, or ran: one at a time. @param {any} view @param {any} change */
function useStatement(view, change) {
  const [state, setState] = useState(/** @type {{answer: import("../sql/result.js").Answer | null, error: unknown}} */ ({ answer: null, error: null }));
  const [isRunning, setRunning] = useState(false);
  const running = useRef(/** @type {AbortController | null} */ (null));
  /** @param {string} sql */
  const run = async (sql) => {
    running.current?.abort();
    const stop = new AbortController();
    running.current = stop;
    setRunning(true);
    setState(({ answer }) => ({ answer, error: null }));
    change({ sql, run: "1" }, { replace: sql === view.sql });
    const started = performance.now();
    try {
      const result = await post("/api/v1/sql", { sql, max_rows: MAX_ROWS }, { signal: stop.signal });
      setState({ answer: { ...result, ms: performance.now() - started }, error: null });
    } catch (error) {
      if (stop.signal.aborted || wasAborted(error)) return;
      setState(({ answer }) => ({ answer, error }));
    } finally {
      if (running.current === stop) setRunning(false);
    }
  };
  useEffect(() => {
    if (view.run) void run(view.sql);
    return () => running.current?.abort();
  }, []);
  const errorAt = state.error instanceof ApiError ? state.error.position : null;
  return { ...state, errorAt, isRunning, run, cancel: () => (running.current?.abort(), setRunning(false)) };
}

/** @param {string} sql */
const shellText = (sql) => `'${sql.replaceAll("'", `'\\''`)}'`;

/** @param {string} text @param {string} word */
const inserted = (text, word) => (text.endsWith(" ") || text.endsWith("\n") || !text ? text + word : `${text} ${word}`);
