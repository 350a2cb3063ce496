/** One run: what it is, and a tab for each side of it. The header stays; tabs load what they show when they are opened. */
import { html, useEffect, useState } from "../lib.js";
import { ApiError, get, mayWrite, patch, session } from "../api.js";
import { confirmed, prompted } from "../components/dialog.js";
import { Elapsed, Status } from "../components/elapsed.js";
import { Icon } from "../components/icons.js";
import { useKeys } from "../components/keys.js";
import { Menu } from "../components/menu.js";
import { ErrorState, LoadingState, NotFoundState } from "../components/states.js";
import { copyText, toast, toastError } from "../components/toast.js";
import { formatAgo, formatTime } from "../format.js";
import { useLoad } from "../load.js";
import { Artifacts } from "../run/artifacts.js";
import { Charts, SystemCharts } from "../run/charts.js";
import { Environment } from "../run/environment.js";
import { Models } from "../run/models.js";
import { Overview } from "../run/overview.js";
import { Points } from "../run/points.js";
import { Writers } from "../run/writers.js";
import { useStore } from "../store.js";
import { choice, useView } from "../url.js";

const TABS = /** @type {const} */ ([
  ["overview", "Overview", "o"], ["charts", "Charts", "c"], ["system", "System", "s"], ["artifacts", "Artifacts", "a"], ["models", "Models", "m"],
  ["environment", "Environment", "v"], ["writers", "Writers", "w"], ["points", "Points", "p"],
]);
const VIEW = { tab: choice(TABS.map(([name]) => name)) };
const LIVE_MS = 4000;

/** @param {{runId: string}} props */
export default function Run({ runId }) {
  const [{ tab }, change] = useView(VIEW);
  const [isOver, setOver] = useState(false);
  const { data: run, error, reload } = useLoad((signal) => get(`/api/v1/runs/${encodeURIComponent(runId)}`, { signal }), [runId, isOver], { everyMs: isOver ? undefined : LIVE_MS });
  useEffect(() => {
    if (!run) return;
    document.title = `${run.name} · ingest`;
    if (!["RUNNING", "LOST"].includes(run.status) && !isOver) setOver(true);
  }, [run]);
  useEffect(() => document.getElementById(`tab-${tab}`)?.scrollIntoView({ block: "nearest", inline: "nearest" }), [tab, !run]); // on a phone the row of tabs is longer than the screen
  useKeys("Run", TABS.map(([name, label, key]) => ({ keys: `t ${key}`, does: `Show ${label.toLowerCase()}`, run: () => change({ tab: name }) })));
  useStore(session);
  if (!run) {
    if (error instanceof ApiError && [400, 404].includes(error.status)) return html`<${NotFoundState} what="run" />`;
    return error ? html`<${ErrorState} error=${error} retry=${reload} />` : html`<${LoadingState} what="Looking for the run" />`;
  }
  const shown = { run, reload, isOver };
  return html`
    <div class="page run-page">
      <${Head} run=${run} reload=${reload} />
      <div class="tabs" role="tablist" aria-label="Sides of the run">
        ${TABS.map(([name, label]) => html`<button role="tab" id=${`tab-${name}`} aria-selected=${tab === name} aria-controls="tab-panel" onClick=${() => change({ tab: name })}>${label}</button>`)}
      </div>
      <div role="tabpanel" id="tab-panel" aria-labelledby=${`tab-${tab}`}>
        ${tab === "overview" ? html`<${Overview} ...${shown} />` : null}
        ${tab === "charts" ? html`<${Charts} ...${shown} />` : null}
        ${tab === "system" ? html`<${SystemCharts} ...${shown} />` : null}
        ${tab === "artifacts" ? html`<${Artifacts} ...${shown} />` : null}
        ${tab === "models" ? html`<${Models} ...${shown} />` : null}
        ${tab === "environment" ? html`<${Environment} ...${shown} />` : null}
        ${tab === "writers" ? html`<${Writers} ...${shown} />` : null}
        ${tab === "points" ? html`<${Points} ...${shown} />` : null}
      </div>
    </div>`;
}

/** @param {{run: any, reload: () => void}} props */
function Head({ run, reload }) {
  const isDeleted = run.lifecycle === "deleted";
  const end = run.end_time_ms ?? (run.status === "RUNNING" ? null : Date.parse(run.heartbeat_at));
  /** @param {object} changes @param {string} done */
  const edit = (changes, done) => patch(`/api/v1/runs/${run.run_id}`, changes).then(() => (toast(done), reload()), toastError);
  const rename = async () => {
    const name = await prompted({ title: "Rename the run", label: "Name", value: run.name });
    if (name?.trim() && name !== run.name) void edit({ name: name.trim() }, "Renamed");
  };
  const remove = async () => {
    if (!(await confirmed({ title: "Delete this run?", text: "It is hidden and can be restored until ingest gc deletes it for good.", action: "Delete", danger: true }))) return;
    await patch(`/api/v1/runs/${run.run_id}`, { lifecycle: "deleted" }).then(
      () => (toast("Run deleted", { action: { label: "Undo", run: () => void edit({ lifecycle: "active" }, "Run restored") } }), reload()),
      toastError,
    );
  };
  const items = [
    { label: "Copy the run's id", icon: /** @type {const} */ ("copy"), run: () => void copyText(run.run_id, "Id copied") },
    ...(mayWrite()
      ? [
          { label: "Rename", icon: /** @type {const} */ ("edit"), disabled: isDeleted, run: () => void rename() },
          isDeleted
            ? { label: "Restore", icon: /** @type {const} */ ("restore"), run: () => void edit({ lifecycle: "active" }, "Run restored") }
            : { label: "Delete", icon: /** @type {const} */ ("trash"), danger: true, run: () => void remove() },
        ]
      : []),
  ];
  return html`
    <div class="page-head run-head">
      <div class="crumbs"><a href=${`/experiments/${run.experiment_id}`}>${run.experiment}</a><${Icon} name="right" size=${12} /><h1 class="truncate">${run.name}</h1></div>
      <${Status} status=${run.status} heard=${Date.parse(run.heartbeat_at)} />
      ${isDeleted ? html`<span class="pill bad">deleted</span>` : null}
      <span class="spacer"></span>
      <span class="muted" title=${`started ${formatTime(run.start_time_ms)}`}><${Elapsed} start=${run.start_time_ms} end=${end} isRunning=${run.status === "RUNNING"} /> · ${formatAgo(run.start_time_ms)}</span>
      <${Menu} label="" title="More of this run" icon="more" items=${items} align="right" className="icon-button" />
    </div>`;
}
