/** What a run is at a glance: summaries of its metrics, params, tags and note. */
import { html, useMemo, useState } from "../lib.js";
import { get, mayWrite, patch } from "../api.js";
import { CopyAs, pythonStart, sqlText } from "../components/code.js";
import { prompted } from "../components/dialog.js";
import { Grid } from "../components/grid.js";
import { Icon } from "../components/icons.js";
import { Markdown } from "../components/markdown.js";
import { ErrorState, LoadingState } from "../components/states.js";
import { toast, toastError } from "../components/toast.js";
import { keyMatcher } from "../charts/match.js";
import { formatTime, formatValue } from "../format.js";
import { useLoad } from "../load.js";
import { text, useView } from "../url.js";

const NOTE = "mlflow.note.content";
const MOST_SERIES = 10_000;
const VIEW = { key: text(), param: text() };

/** @param {{run: any, reload: () => void, isOver: boolean}} props */
export function Overview({ run, reload, isOver }) {
  return html`
    <div class="run-columns">
      <div class="stack"><${Note} run=${run} reload=${reload} /><${Summaries} run=${run} isOver=${isOver} /></div>
      <div class="stack"><${Facts} run=${run} /><${Params} run=${run} /><${Tags} run=${run} reload=${reload} /></div>
    </div>`;
}

/** @param {{run: any}} props */
function Facts({ run }) {
  const points = run.writers.reduce((/** @type {number} */ total, /** @type {any} */ one) => total + one.points, 0);
  return html`
    <section class="card"><dl class="facts">
      ${[
        ["Id", html`<code>${run.run_id}</code>`],
        ["Experiment", html`<a href=${`/experiments/${run.experiment_id}`}>${run.experiment}</a>`],
        ["User", run.user_name || "–"],
        ["Started", formatTime(run.start_time_ms)],
        ["Ended", run.end_time_ms ? formatTime(run.end_time_ms) : "–"],
        ["Points", points.toLocaleString("en-US")],
        ...(run.parent_run_id ? [["Parent", html`<a href=${`/runs/${run.parent_run_id}`}><code>${run.parent_run_id}</code></a>`]] : []),
      ].map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl></section>`;
}

/** @param {{run: any, isOver: boolean}} props */
function Summaries({ run, isOver }) {
  const [view, change] = useView(VIEW);
  const [sort, setSort] = useState(/** @type {{column: number, down: boolean} | null} */ (null));
  const { data, error, reload } = useLoad((signal) => get(`/api/v1/runs/${run.run_id}/series`, { query: { limit: MOST_SERIES }, signal }), [run.run_id, isOver], { everyMs: isOver ? undefined : 5000 });
  const columns = useMemo(() => [
    { name: "metric", show: (/** @type {string} */ key) => html`<a href=${`/runs/${run.run_id}?tab=charts&full=${encodeURIComponent(key)}`}>${key}</a>` },
    { name: "last", isNumber: true, show: formatValue }, { name: "min", isNumber: true, show: formatValue }, { name: "max", isNumber: true, show: formatValue },
    { name: "mean", isNumber: true, show: formatValue }, { name: "at step", isNumber: true, show: formatValue }, { name: "points", isNumber: true, show: formatValue },
    { name: "NaN, ∞", isNumber: true, show: (/** @type {number} */ n) => (n ? html`<span class="bad">${n}</span>` : "") },
  ], [run.run_id]);
  const rows = useMemo(() => {
    const matches = keyMatcher(view.key).test;
    const found = (data?.series ?? []).filter((/** @type {any} */ one) => matches(one.key)).map(rowOf);
    return sort ? found.sort((/** @type {any[]} */ a, /** @type {any[]} */ b) => (a[sort.column] < b[sort.column] ? -1 : 1) * (sort.down ? -1 : 1)) : found;
  }, [data, view.key, sort]);
  return html`
    <section class="card">
      <header><h2>Metrics</h2><span class="count">${data ? rows.length.toLocaleString("en-US") + (data.next_page_token ? "+" : "") : ""}</span><span class="spacer"></span>
        <input type="search" placeholder="Search: glob*, /regex/" aria-label="Search for metrics" value=${view.key} onInput=${(/** @type {any} */ event) => change({ key: event.target.value }, { replace: true })} />
        <${CopyAs} sql=${`SELECT key, step, value, points\nFROM latest_metrics\nWHERE run_id = ${sqlText(run.run_id)}\nORDER BY key`} python=${`${pythonStart()}\nrun = ingest.get_run(${JSON.stringify(run.run_id)})\nprint(run.data.metrics)`} />
      </header>
      ${!data && error ? html`<${ErrorState} error=${error} retry=${reload} />` : null}
      ${!data && !error ? html`<${LoadingState} what="Looking for metrics" />` : null}
      ${data && !rows.length ? html`<p class="muted pad">${view.key ? "No metric is called so." : "No metrics were logged yet."}</p>` : null}
      ${rows.length ? html`<${Grid} label="Metrics" columns=${columns} rows=${rows} height=${Math.min(640, 32 + 28 * (rows.length + 1))} sort=${sort} onSort=${(/** @type {number} */ column) => setSort({ column, down: sort?.column === column ? !sort.down : column > 0 })} />` : null}
    </section>`;
}

/** @param {any} one */
const rowOf = (one) => [one.key, one.last_value, one.min_value, one.max_value, typeof one.sum_value === "number" && one.n > one.non_finite ? one.sum_value / (one.n - one.non_finite) : null, one.last_step, one.n, one.non_finite];

/** @param {{run: any}} props */
function Params({ run }) {
  const [view, change] = useView(VIEW);
  const wanted = view.param.toLowerCase();
  const params = Object.entries(run.params).filter(([key, value]) => `${key} ${value}`.toLowerCase().includes(wanted));
  return html`
    <section class="card">
      <header><h2>Params</h2><span class="count">${Object.keys(run.params).length}</span><span class="spacer"></span>
        ${Object.keys(run.params).length > 8 ? html`<input type="search" placeholder="Search" aria-label="Search params" value=${view.param} onInput=${(/** @type {any} */ event) => change({ param: event.target.value }, { replace: true })} />` : null}
        <${CopyAs} sql=${`SELECT key, value FROM params WHERE run_id = ${sqlText(run.run_id)}`} python=${`${pythonStart()}\nprint(ingest.get_run(${JSON.stringify(run.run_id)}).data.params)`} />
      </header>
      ${params.length ? html`<table class="plain pairs"><tbody>${params.map(([key, value]) => html`<tr><th scope="row">${key}</th><td>${value}</td></tr>`)}</tbody></table>` : html`<p class="muted pad">None.</p>`}
    </section>`;
}

/** @param {{run: any, reload: () => void}} props */
function Tags({ run, reload }) {
  const tags = Object.entries(run.tags).filter(([key]) => !key.startsWith("mlflow.") && !key.startsWith("ingest."));
  const mayChange = mayWrite() && run.lifecycle === "active";
  /** @param {Record<string, string | null>} changes */
  const save = (changes) => patch(`/api/v1/runs/${run.run_id}`, { tags: changes }).then(reload, toastError);
  /** @param {SubmitEvent} event */
  const add = (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const given = new FormData(form);
    const key = String(given.get("key")).trim();
    if (!key) return;
    void save({ [key]: String(given.get("value")) }).then(() => form.reset());
  };
  /** @param {string} key @param {string} value */
  const edit = async (key, value) => {
    const changed = await prompted({ title: `Tag ${key}`, label: "Value", value });
    if (changed !== null && changed !== value) void save({ [key]: changed });
  };
  return html`
    <section class="card">
      <header><h2>Tags</h2><span class="count">${tags.length}</span><span class="spacer"></span>
        <${CopyAs} sql=${`SELECT key, value FROM tags WHERE run_id = ${sqlText(run.run_id)}`} python=${`${pythonStart()}\nprint(ingest.get_run(${JSON.stringify(run.run_id)}).data.tags)`} /></header>
      ${tags.length ? html`<table class="plain pairs"><tbody>${tags.map(([key, value]) => html`
        <tr key=${key}><th scope="row">${key}</th><td>${value}</td>
          ${mayChange ? html`<td class="actions"><button class="icon-button small" aria-label=${`Edit ${key}`} title="Edit" onClick=${() => edit(key, String(value))}><${Icon} name="edit" size=${14} /></button><button class="icon-button small" aria-label=${`Delete ${key}`} title="Delete" onClick=${() => save({ [key]: null }).then(() => toast(`Tag ${key} deleted`, { action: { label: "Undo", run: () => void save({ [key]: String(value) }) } }))}><${Icon} name="trash" size=${14} /></button></td>` : null}
        </tr>`)}</tbody></table>` : mayChange ? null : html`<p class="muted pad">None.</p>`}
      ${mayChange ? html`<form class="row pad" onSubmit=${add}><input name="key" aria-label="Name of a new tag" placeholder="tag" class="grow" autocomplete="off" /><input name="value" aria-label="Its value" placeholder="value" class="grow" autocomplete="off" /><button>Add tag</button></form>` : null}
    </section>`;
}

/** @param {{run: any, reload: () => void}} props */
function Note({ run, reload }) {
  const note = run.tags[NOTE] ?? "";
  const mayChange = mayWrite() && run.lifecycle === "active";
  const edit = async () => {
    const changed = await prompted({ title: "Note", label: "Markdown", value: note, rows: 14 });
    if (changed === null || changed === note) return;
    await patch(`/api/v1/runs/${run.run_id}`, { tags: { [NOTE]: changed || null } }).then(reload, toastError);
  };
  if (!note) return mayChange ? html`<button class="quiet add-note" onClick=${edit}><${Icon} name="note" />Add a note</button>` : null;
  return html`
    <section class="card">
      <header><h2>Note</h2><span class="spacer"></span>${mayChange ? html`<button class="quiet" onClick=${edit}><${Icon} name="edit" />Edit</button>` : null}</header>
      <div class="card-body"><${Markdown} text=${note} /></div>
    </section>`;
}
