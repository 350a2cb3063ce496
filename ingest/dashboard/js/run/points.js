/** The raw points of one metric, exactly as they were logged, page by page. */
import { html, useEffect, useState } from "../lib.js";
import { get } from "../api.js";
import { CopyAs, pythonStart, sqlText } from "../components/code.js";
import { Grid } from "../components/grid.js";
import { EmptyState, ErrorState, LoadingState } from "../components/states.js";
import { formatCount } from "../format.js";
import { useLoad } from "../load.js";
import { text, useView } from "../url.js";

const VIEW = { metric: text() };
const PAGE = 5000;
const COLUMNS = [
  { name: "step", isNumber: true },
  { name: "time", show: (/** @type {number} */ ms) => (Math.abs(ms) < 8.64e15 ? new Date(ms).toISOString().replace("T", " ").replace("Z", "") : String(ms)) },
  { name: "value", isNumber: true },
];

/** @param {{run: any}} props */
export function Points({ run }) {
  const [view, change] = useView(VIEW);
  const keys = useLoad((signal) => get(`/api/v1/runs/${run.run_id}/series`, { query: { limit: 10_000 }, signal }), [run.run_id]);
  const names = (keys.data?.series ?? []).map((/** @type {any} */ one) => one.key);
  const key = view.metric || names[0] || "";
  const first = useLoad((signal) => (key ? page(run.run_id, key, null, signal) : Promise.resolve(null)), [run.run_id, key]);
  const [more, setMore] = useState(/** @type {any[]} */ ([]));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  useEffect(() => (setMore([]), setError(null)), [run.run_id, key]);
  if (keys.error && !keys.data) return html`<${ErrorState} error=${keys.error} retry=${keys.reload} />`;
  if (!keys.data) return html`<${LoadingState} what="Looking for metrics" />`;
  if (!names.length) return html`<${EmptyState} title="No metrics were logged yet" />`;
  const pages = first.data ? [first.data, ...more] : [];
  const rows = pages.flatMap((one) => one.steps.map((/** @type {number} */ step, /** @type {number} */ i) => [step, one.times_ms[i], one.values[i]]));
  const next = pages.at(-1)?.next_page_token;
  const total = keys.data.series.find((/** @type {any} */ one) => one.key === key)?.n;
  return html`
    <section class="card">
      <header><label class="row grow wide-field">Metric<input list="metric-names" value=${key} class="grow" onChange=${(/** @type {any} */ event) => change({ metric: event.target.value })} /></label>
        <datalist id="metric-names">${names.slice(0, 2000).map((/** @type {string} */ name) => html`<option value=${name} />`)}</datalist>
        <span class="muted">${formatCount(rows.length)}${total ? ` of ${formatCount(total)}` : ""} points</span>
        <${CopyAs} sql=${`SELECT step, time, value, rank, attempt\nFROM metrics\nWHERE run_id = ${sqlText(run.run_id)} AND key = ${sqlText(key)}\nORDER BY step\nLIMIT 10000`}
          python=${`${pythonStart()}\nfor point in ingest.get_metric_history(${JSON.stringify(run.run_id)}, ${JSON.stringify(key)}):\n    print(point.step, point.timestamp, point.value)`} />
      </header>
      ${first.error || error ? html`<${ErrorState} error=${first.error ?? error} />` : null}
      ${first.isLoading ? html`<${LoadingState} what="Reading points" />` : null}
      ${rows.length ? html`<${Grid} label="Points" columns=${COLUMNS} rows=${rows} height=${560} />` : null}
      ${next ? html`<div class="row pad"><button onClick=${() => page(run.run_id, key, next).then((one) => setMore([...more, one]), setError)}>Next ${formatCount(PAGE)} points</button></div>` : null}
    </section>`;
}

/** @param {string} runId @param {string} key @param {string | null} page_token @param {AbortSignal} [signal] */
const page = (runId, key, page_token, signal) => get(`/api/v1/runs/${runId}/series/${encodeURIComponent(key)}/points`, { query: { limit: PAGE, page_token }, signal });
