/** The list of experiments: how many runs each has, how many of them run now, when the last one began. */
import { html, useEffect, useMemo, useState } from "../lib.js";
import { get, mayWrite, patch, post } from "../api.js";
import { keyMatcher } from "../charts/match.js";
import { confirmed, prompted } from "../components/dialog.js";
import { FirstRun } from "../components/first-run.js";
import { Icon } from "../components/icons.js";
import { useKeys } from "../components/keys.js";
import { Menu } from "../components/menu.js";
import { EmptyState, ErrorState, LoadingState } from "../components/states.js";
import { toast, toastError } from "../components/toast.js";
import { formatAgo, formatCount, formatTime } from "../format.js";
import { choice, text, useView } from "../url.js";

const VIEW = { find: text(), life: choice(/** @type {const} */ (["active", "deleted"])), order: choice(/** @type {const} */ (["recent", "name", "runs"])) };
const REFRESH_MS = 5000;

/** @typedef {{experiment_id: number, name: string, lifecycle: string, runs: number, running: number, last_start_ms: number | null}} Experiment */

/** @param {string} life @returns {Promise<Experiment[]>} */
async function fetchExperiments(life) {
  const overview = get("/api/v1/overview");
  const all = [];
  let token = "";
  do {
    const page = await get("/api/v1/experiments", { query: { limit: 1000, lifecycle: life, page_token: token } });
    all.push(...page.experiments);
    token = page.next_page_token;
  } while (token);
  const counts = new Map((await overview).experiments.map((/** @type {any} */ one) => [one.experiment_id, one]));
  return all.map((one) => ({ runs: 0, running: 0, last_start_ms: null, ...one, ...counts.get(one.experiment_id) }));
}

export default function Experiments() {
  const [view, change] = useView(VIEW);
  const [state, setState] = useState(/** @type {{experiments: Experiment[] | null, error: unknown}} */ ({ experiments: null, error: null }));
  const load = () => fetchExperiments(view.life).then((experiments) => setState({ experiments, error: null }), (error) => setState((before) => ({ ...before, error })));
  useEffect(() => {
    void load();
    const timer = setInterval(() => document.hidden || load(), REFRESH_MS);
    return () => clearInterval(timer);
  }, [view.life]);
  const shown = useMemo(() => ordered((state.experiments ?? []).filter(({ name }) => keyMatcher(view.find).test(name)), view.order), [state.experiments, view]);
  useKeys("Experiments", [{ keys: "/", does: "Search experiments", run: () => /** @type {HTMLElement | null} */ (document.querySelector(".search input"))?.focus() }]);
  if (!state.experiments) return state.error ? html`<${ErrorState} error=${state.error} retry=${load} />` : html`<${LoadingState} what="Looking for experiments" />`;
  const isNew = view.life === "active" && state.experiments.every((one) => !one.runs);
  return html`
    <div class="page experiments">
      <div class="page-head">
        <h1>Experiments</h1><span class="count">${formatCount(state.experiments.length)}</span>
        <span class="spacer"></span>
        <label class="search"><${Icon} name="search" /><span class="sr-only">Search experiments</span><input type="search" placeholder="Search" value=${view.find} onInput=${(/** @type {any} */ event) => change({ find: event.currentTarget.value }, { replace: true })} /></label>
        <select aria-label="Which experiments" value=${view.life} onChange=${(/** @type {any} */ event) => change({ life: event.currentTarget.value })}><option value="active" selected=${view.life === "active"}>Active</option><option value="deleted" selected=${view.life === "deleted"}>Deleted</option></select>
        ${mayWrite() ? html`<button onClick=${() => create(load)}><${Icon} name="plus" />New</button>` : null}
      </div>
      ${isNew ? html`<${FirstRun} />` : null}
      ${shown.length ? html`
        <div class="card list-card">
          <table class="list">
            <thead><tr>${[["name", "Name"], ["runs", "Runs"], ["", "Running"], ["recent", "Last run"]].map(([key, label]) => html`<th class=${key === "name" ? "" : "numeric"} aria-sort=${key && view.order === key ? (key === "name" ? "ascending" : "descending") : undefined}>${key ? html`<button class="head-button" onClick=${() => change({ order: /** @type {any} */ (key) })}>${label}${view.order === key ? html`<${Icon} name=${key === "name" ? "up" : "down"} size=${12} />` : null}</button>` : label}</th>`)}<th><span class="sr-only">Actions</span></th></tr></thead>
            <tbody>${shown.map((one) => html`<${ExperimentRow} key=${one.experiment_id} one=${one} load=${load} />`)}</tbody>
          </table>
        </div>` : state.experiments.length ? html`<${EmptyState} title="No experiment fits" icon="search" />` : view.life === "deleted" ? html`<${EmptyState} title="Nothing is deleted" icon="trash" />` : null}
    </div>`;
}

/** @param {Experiment[]} some @param {"recent" | "name" | "runs"} order */
function ordered(some, order) {
  if (order === "name") return [...some].sort((a, b) => a.name.localeCompare(b.name));
  if (order === "runs") return [...some].sort((a, b) => b.runs - a.runs);
  return [...some].sort((a, b) => (b.last_start_ms ?? 0) - (a.last_start_ms ?? 0));
}

/** @param {{one: Experiment, load: () => void}} props */
function ExperimentRow({ one, load }) {
  const items = () => one.lifecycle === "deleted"
    ? [{ label: "Restore", icon: /** @type {const} */ ("restore"), run: () => edit(one, { lifecycle: "active" }, `Restored ${one.name}`, load) }]
    : [
        { label: "Rename", icon: /** @type {const} */ ("edit"), run: async () => { const name = await prompted({ title: "Rename the experiment", label: "Name", value: one.name }); if (name && name !== one.name) await edit(one, { name }, `Renamed to ${name}`, load); } },
        { label: "Delete", icon: /** @type {const} */ ("trash"), danger: true, run: async () => { if (await confirmed({ title: `Delete ${one.name}?`, text: `Its ${formatCount(one.runs)} runs go with it. They can be restored.`, action: "Delete", danger: true })) await edit(one, { lifecycle: "deleted" }, `Deleted ${one.name}`, load); } },
      ];
  return html`
    <tr>
      <td class="wide"><a href=${`/experiments/${one.experiment_id}`}>${one.name}</a></td>
      <td class="numeric">${formatCount(one.runs)}</td>
      <td class="numeric">${one.running ? html`<span class="status running">${formatCount(one.running)}</span>` : ""}</td>
      <td class="numeric muted"><time title=${formatTime(one.last_start_ms)}>${formatAgo(one.last_start_ms)}</time></td>
      <td class="actions">${mayWrite() ? html`<${Menu} label="" icon="more" title=${`More about ${one.name}`} className="icon-button small" align="right" items=${items} />` : null}</td>
    </tr>`;
}

/** @param {Experiment} one @param {object} changes @param {string} done @param {() => void} load */
async function edit(one, changes, done, load) {
  try {
    await patch(`/api/v1/experiments/${one.experiment_id}`, changes);
    toast(done);
  } catch (error) {
    toastError(error);
  }
  load();
}

/** @param {() => void} load */
async function create(load) {
  const name = await prompted({ title: "New experiment", label: "Name", action: "Create" });
  if (!name) return;
  try {
    await post("/api/v1/experiments", { name });
    toast(`Created ${name}`);
  } catch (error) {
    toastError(error);
  }
  load();
}
