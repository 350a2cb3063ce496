/** The curves of one run: its own metrics, and those of the machines that it ran on. */
import { html, useMemo } from "../lib.js";
import { CHART_VIEW } from "../charts/options.js";
import { ChartGrid } from "../charts/grid.js";
import { coloursOf } from "../charts/colours.js";
import { CopyAs, pythonStart, sqlText } from "../components/code.js";
import { EmptyState } from "../components/states.js";
import { useLoad } from "../load.js";
import { get } from "../api.js";
import { list, useView } from "../url.js";

const SYSTEM = "system/";
/** The machine's curves stand unfolded on a tab of their own. */
const SYSTEM_VIEW = { ...CHART_VIEW, fold: list() };

/** @param {string} key */
const isOwn = (key) => !key.startsWith(SYSTEM);
/** @param {string} key */
const isSystem = (key) => key.startsWith(SYSTEM);

/** @param {{run: any, isOver: boolean}} props */
export function Charts({ run, isOver }) {
  const [view, change] = useView(CHART_VIEW);
  const runs = useMemo(() => drawn(run, isOver), [run.run_id, run.name, isOver]);
  const keys = `key ${view.find && !/[*?/]/.test(view.find) ? `ILIKE ${sqlText(`%${view.find}%`)}` : "NOT LIKE 'system/%'"}`;
  return html`
    <div class="row end charts-copy">
      <${CopyAs} sql=${`SELECT key, step, time, value\nFROM metrics\nWHERE run_id = ${sqlText(run.run_id)} AND ${keys}\nORDER BY key, step\nLIMIT 10000`}
        python=${`${pythonStart()}\nrun_id = ${JSON.stringify(run.run_id)}\nfor key in ingest.get_run(run_id).data.metrics:\n    history = ingest.get_metric_history(run_id, key)\n    print(key, [(point.step, point.value) for point in history])`} />
    </div>
    <${ChartGrid} ...${runs} view=${view} change=${change} only=${isOwn} />`;
}

/** @param {{run: any, isOver: boolean}} props */
export function SystemCharts({ run, isOver }) {
  const [view, change] = useView(SYSTEM_VIEW);
  const { data } = useLoad((signal) => get(`/api/v1/runs/${run.run_id}/series`, { query: { match: `${SYSTEM}*`, limit: 1 }, signal }), [run.run_id], { everyMs: isOver ? undefined : 10_000 });
  const runs = useMemo(() => drawn(run, isOver), [run.run_id, run.name, isOver]);
  if (data && !data.series.length) {
    return html`<${EmptyState} title="No figures of the machine"><p class="muted">Metrics whose keys begin with <code>system/</code>, of processor, memory, disk, network or GPU, stand here.</p></${EmptyState}>`;
  }
  return html`
    <div class="row end charts-copy">
      <${CopyAs} sql=${`SELECT key, step, time, value\nFROM metrics\nWHERE run_id = ${sqlText(run.run_id)} AND key LIKE 'system/%'\nORDER BY key, step\nLIMIT 10000`} />
    </div>
    <${ChartGrid} ...${runs} view=${view} change=${change} only=${isSystem} />`;
}

/** @param {any} run @param {boolean} isOver */
function drawn(run, isOver) {
  return { runs: [{ id: run.run_id, name: run.name, colour: coloursOf([run.run_id]).get(run.run_id) }], live: isOver ? [] : [run.run_id] };
}
