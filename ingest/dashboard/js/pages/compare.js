/** Two to 200 runs beside each other: what they differ in, and plots of their params and summaries; the curves of all of them. */
import { html, useMemo, useState } from "../lib.js";
import { post } from "../api.js";
import { coloursOf } from "../charts/colours.js";
import { ChartGrid } from "../charts/grid.js";
import { CHART_VIEW } from "../charts/options.js";
import { CopyAs, pythonStart, sqlText } from "../components/code.js";
import { Icon } from "../components/icons.js";
import { useKeys } from "../components/keys.js";
import { Menu } from "../components/menu.js";
import { EmptyState, ErrorState, LoadingState } from "../components/states.js";
import { copyText } from "../components/toast.js";
import { CodeFiles } from "../compare/code.js";
import { fieldsOf, firstAxes, likeliest, partedTags } from "../compare/data.js";
import { Differences } from "../compare/differences.js";
import { Parallel } from "../compare/parallel.js";
import { Bars, Scatter } from "../compare/scatter.js";
import { useLoad } from "../load.js";
import { choice, flag, list, map, text, useView } from "../url.js";

const TABS = /** @type {const} */ ([["differences", "Differences"], ["plots", "Plots"], ["curves", "Curves"]]);
const SUMMARIES = /** @type {const} */ (["last", "min", "max", "mean", "first", "count"]);
const VIEW = { run: list(), tab: choice(TABS.map(([name]) => name)), all: flag(), summary: choice(SUMMARIES), axes: list(), sx: text(), sy: text(), bar: text(), brush: map(), colour: map() };

export default function Compare() {
  const [view, change] = useView(VIEW);
  const ids = view.run.join();
  const { data, error, reload } = useLoad((signal) => (view.run.length ? post("/api/v1/runs/compare", { run_ids: view.run, all: view.all }, { signal }) : Promise.resolve(null)), [ids, view.all]);
  const [highlight, setHighlight] = useState("");
  useKeys("Compare", [
    { keys: "a", does: "Show all keys, or differences only", run: () => change({ all: !view.all }) },
    ...TABS.map(([name, label], i) => ({ keys: String(i + 1), does: `Show ${label.toLowerCase()}`, run: () => change({ tab: name }) })),
  ]);
  const colours = useMemo(() => coloursOf(view.run, view.colour), [ids, view.colour]);
  const runs = useMemo(() => (data?.runs ?? []).map((/** @type {any} */ run) => ({ id: run.run_id, name: run.name || run.run_id.slice(0, 8), colour: colours.get(run.run_id) ?? "#888888", status: run.status })), [data, colours]);
  if (!view.run.length) return html`<${EmptyState} title="No runs to compare"><p class="muted">Select two or more in the table of runs, then press Compare.</p><p><a href="/runs">To the runs</a></p></${EmptyState}>`;
  if (error && !data) return html`<${ErrorState} error=${error} retry=${reload} />`;
  if (!data) return html`<${LoadingState} what="Comparing" />`;
  const shared = { data, runs, view, change, highlight, setHighlight };
  const list_ = view.run.map(sqlText).join(", ");
  return html`
    <div class="page compare-page">
      <div class="page-head">
        <h1>Compare</h1><span class="count">${runs.length} ${runs.length === 1 ? "run" : "runs"}</span><span class="spacer"></span>
        <${CopyAs} sql=${`SELECT r.name, s.key, s.last_value, s.min_value, s.max_value, s.n\nFROM series AS s\nJOIN runs AS r USING (run_id)\nWHERE s.run_id IN (${list_})\nORDER BY s.key, r.name`}
          python=${`${pythonStart()}\nfor run_id in ${JSON.stringify(view.run)}:\n    run = ingest.get_run(run_id)\n    print(run.info.run_name, run.data.params, run.data.metrics)`} />
        <button class="quiet" onClick=${() => copyText(location.href, "Link copied")}><${Icon} name="link" />Share</button>
      </div>
      <ul class="run-chips">${runs.map((/** @type {any} */ run) => html`
        <li key=${run.id} class=${run.id === highlight ? "high" : ""} onPointerEnter=${() => setHighlight(run.id)} onPointerLeave=${() => setHighlight("")}>
          <i class="dot" style=${`background: ${run.colour}`}></i><a href=${`/runs/${run.id}`}>${run.name}</a>
          <button class="icon-button small" aria-label=${`Take ${run.name} out`} title="Take out" onClick=${() => change({ run: view.run.filter((id) => id !== run.id) })}><${Icon} name="close" size=${12} /></button>
        </li>`)}</ul>
      <div class="tabs" role="tablist" aria-label="Kinds of comparison">
        ${TABS.map(([name, label]) => html`<button role="tab" aria-selected=${view.tab === name} onClick=${() => change({ tab: name })}>${label}</button>`)}
      </div>
      ${view.tab === "differences" ? html`<${DifferencesTab} ...${shared} />` : null}
      ${view.tab === "plots" ? html`<${Plots} ...${shared} />` : null}
      ${view.tab === "curves" ? html`<${Curves} runs=${runs} />` : null}
    </div>`;
}

/** @param {any} props */
function DifferencesTab({ data, runs, view, change }) {
  const { own, environment } = partedTags(data.tags);
  const metrics = Object.fromEntries(Object.entries(data.metrics).map(([key, lists]) => [key, lists[view.summary]]));
  const same = view.all ? "None." : "No differences.";
  return html`
    <div class="stack">
      <div class="row">
        <label class="check"><input type="checkbox" checked=${view.all} onChange=${() => change({ all: !view.all })} />Also what is the same</label>
        <${SummarySelect} view=${view} change=${change} />
      </div>
      <${Differences} title="Params" rows=${data.params} runs=${runs} empty=${same} />
      <${Differences} title="Metrics" told=${view.summary} rows=${metrics} runs=${runs} isNumber empty=${same} />
      <${Differences} title="Tags" rows=${own} runs=${runs} empty=${same} />
      <${Differences} title="Code and environment" rows=${environment} runs=${runs} empty=${same} />
      <${CodeFiles} runs=${runs} all=${view.all} empty=${same} />
    </div>`;
}

/** @param {any} props */
const SummarySelect = ({ view, change }) => html`
  <label class="row">Metrics by <select value=${view.summary} onChange=${(/** @type {any} */ event) => change({ summary: event.target.value })}>${SUMMARIES.map((one) => html`<option value=${one} selected=${view.summary === one}>${one}</option>`)}</select></label>`;

/** @param {any} props */
function Plots({ data, runs, view, change, highlight, setHighlight }) {
  const fields = useMemo(() => fieldsOf(data, view.summary), [data, view.summary]);
  if (!fields.length) return html`<${EmptyState} title="Nothing to plot"><p class="muted">These runs differ in no param and no metric.</p></${EmptyState}>`;
  const byId = new Map(fields.map((one) => [one.id, one]));
  const chosen = (view.axes.length ? view.axes : firstAxes(fields)).filter((/** @type {string} */ id) => byId.has(id));
  const axes = chosen.map((/** @type {string} */ id) => byId.get(id));
  const brushes = Object.fromEntries(Object.entries(view.brush).map(([id, range]) => [id, String(range).split("~").map(Number)]).filter(([, range]) => range.length === 2));
  const setBrushes = (/** @type {Record<string, [number, number]>} */ next) => change({ brush: Object.fromEntries(Object.entries(next).map(([id, [low, high]]) => [id, `${low.toFixed(3)}~${high.toFixed(3)}`])) }, { replace: true });
  const numeric = fields.filter((one) => one.isNumeric);
  const [metric] = likeliest(fields);
  const x = byId.get(view.sx) ?? fields.find((one) => one.kind === "param" && one.isNumeric) ?? fields[0];
  const y = byId.get(view.sy) ?? metric ?? fields.at(-1);
  const bar = byId.get(view.bar) ?? metric ?? numeric[0];
  const toggle = (/** @type {string} */ id) => change({ axes: chosen.includes(id) ? chosen.filter((/** @type {string} */ one) => one !== id) : [...chosen, id] });
  /** @param {string} name @param {any} field @param {any[]} options @param {string} label */
  const select = (name, field, options, label) => html`
    <label class="row">${label}<select value=${field?.id} aria-label=${label || "Field of the bars"} onChange=${(/** @type {any} */ event) => change({ [name]: event.target.value })}>${options.map((one) => html`<option value=${one.id} selected=${one.id === field?.id}>${one.label}</option>`)}</select></label>`;
  const shared = { runs, highlight, setHighlight };
  return html`
    <div class="stack">
      <section class="card">
        <header><h2>Parallel coordinates</h2><span class="muted">drag along an axis to keep the runs that pass there</span><span class="spacer"></span>
          <${SummarySelect} view=${view} change=${change} />
          ${Object.keys(brushes).length ? html`<button class="quiet" onClick=${() => setBrushes({})}>All runs</button>` : null}
          <${Menu} label="Axes" icon="columns" className="quiet" align="right" keepOpen items=${() => fields.slice(0, 400).map((one) => ({ label: one.label, checked: chosen.includes(one.id), run: () => toggle(one.id) }))} />
        </header>
        ${axes.length ? html`<${Parallel} axes=${axes} brushes=${brushes} setBrushes=${setBrushes} ...${shared} />` : html`<p class="muted pad">Choose axes.</p>`}
      </section>
      <div class="two-columns">
        <section class="card"><header><h2>Scatter</h2><span class="spacer"></span>${select("sx", x, fields, "x")}${select("sy", y, fields, "y")}</header><${Scatter} x=${x} y=${y} ...${shared} /></section>
        ${bar ? html`<section class="card"><header><h2>Bars</h2><span class="spacer"></span>${select("bar", bar, numeric, "")}</header><${Bars} field=${bar} ...${shared} /></section>` : null}
      </div>
    </div>`;
}

/** @param {{runs: any[]}} props */
function Curves({ runs }) {
  const [view, change] = useView(CHART_VIEW);
  const live = runs.filter((run) => run.status === "RUNNING").map((run) => run.id);
  return html`<${ChartGrid} runs=${runs} live=${live} view=${view} change=${change} />`;
}
