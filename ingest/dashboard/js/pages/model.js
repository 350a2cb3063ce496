/** One registered model: description, versions with their stages and aliases, how to load each. */
import { html } from "../lib.js";
import { ApiError, get, mayWrite, patch, post, request } from "../api.js";
import { Code, CopyAs, sqlText } from "../components/code.js";
import { confirmed, prompted } from "../components/dialog.js";
import { Icon } from "../components/icons.js";
import { Markdown } from "../components/markdown.js";
import { Menu } from "../components/menu.js";
import { ErrorState, LoadingState, NotFoundState } from "../components/states.js";
import { toast, toastError } from "../components/toast.js";
import { formatAgo } from "../format.js";
import { useLoad } from "../load.js";
import { loading } from "../run/models.js";
import { text, useView } from "../url.js";

const API = "/ajax-api/2.0/mlflow";
const STAGES = ["None", "Staging", "Production", "Archived"];
const VIEW = { version: text() };
const MOST_NAMES = 200; // of runs, asked for at once

/** By id, the names of the runs that versions came out of: ids of one hour begin alike. @param {any[]} versions @param {AbortSignal} signal @returns {Promise<Map<string, string>>} */
async function runNames(versions, signal) {
  const ids = [...new Set(versions.map((one) => one.run_id).filter((id) => /^[0-9a-f]{32}$/.test(id ?? "")))].slice(0, MOST_NAMES);
  if (!ids.length) return new Map();
  const { runs } = await post("/api/v1/runs/search", { filter: `run_id IN (${ids.map((id) => `'${id}'`).join(", ")})`, columns: ["name"], view: "all", limit: MOST_NAMES }, { signal });
  return new Map(runs.map((/** @type {any} */ run) => [run.run_id, run.name]));
}

/** @param {{model: string}} props */
export default function Model({ model: name }) {
  const [view, change] = useView(VIEW);
  const { data, error, reload } = useLoad(
    async (signal) => {
      const [{ registered_model }, { model_versions = [] }] = await Promise.all([
        get(`${API}/registered-models/get`, { query: { name }, signal }),
        get(`${API}/model-versions/search`, { query: { filter: `name = '${name.replaceAll("'", "''")}'`, max_results: 1000 }, signal }),
      ]);
      const names = await runNames(model_versions, signal);
      return { model: registered_model, names, versions: model_versions.sort((/** @type {any} */ a, /** @type {any} */ b) => Number(b.version) - Number(a.version)) };
    },
    [name],
  );
  if (error instanceof ApiError && error.status === 404) return html`<${NotFoundState} what="model" />`;
  if (error && !data) return html`<${ErrorState} error=${error} retry=${reload} />`;
  if (!data) return html`<${LoadingState} what="Looking for the model" />`;
  const { model, names, versions } = data;
  /** @param {Promise<any>} work @param {string} done */
  const act = (work, done) => work.then(() => (toast(done), reload()), toastError);
  const describe = async () => {
    const description = await prompted({ title: "Description", label: "Markdown", value: model.description ?? "", rows: 10 });
    if (description !== null) void act(patch(`${API}/registered-models/update`, { name, description }), "Saved");
  };
  const shown = versions.find((/** @type {any} */ one) => one.version === view.version) ?? versions[0];
  return html`
    <div class="page">
      <div class="page-head"><div class="crumbs"><a href="/models">Models</a><${Icon} name="right" size=${12} /><h1 class="truncate">${name}</h1></div><span class="spacer"></span>
        ${mayWrite() ? html`<button class="quiet" onClick=${describe}><${Icon} name="edit" />${model.description ? "Edit the description" : "Describe it"}</button>` : null}</div>
      <div class="stack">
        ${model.description ? html`<section class="card"><div class="card-body"><${Markdown} text=${model.description} /></div></section>` : null}
        <section class="card"><header><h2>Versions</h2><span class="count">${versions.length}</span><span class="spacer"></span>
            <${CopyAs} sql=${`SELECT version, stage, source, run_id, description\nFROM model_versions\nWHERE name = ${sqlText(name)}\nORDER BY version DESC`} /></header>
          <div class="scroll-x" tabindex="0" role="region" aria-label="Versions">
            <table class="plain"><thead><tr><th class="number">Version</th><th>Aliases</th><th>Stage</th><th>Run</th><th>Made</th><th>Description</th><th></th></tr></thead>
              <tbody>${versions.map((/** @type {any} */ one) => html`<${Version} key=${one.version} name=${name} version=${one} runName=${names.get(one.run_id)} act=${act} isShown=${one === shown} show=${() => change({ version: one.version })} />`)}</tbody></table>
          </div></section>
        ${shown ? html`<section class="card"><header><h2>Load version ${shown.version} in Python</h2></header><div class="card-body"><${Code} label="how to load the model" code=${loading(shown.aliases?.length ? `models:/${name}@${shown.aliases[0]}` : `models:/${name}/${shown.version}`)} /></div></section>` : null}
      </div>
    </div>`;
}

/** @param {{name: string, version: any, runName?: string, act: (work: Promise<any>, done: string) => Promise<void>, isShown: boolean, show: () => void}} props */
function Version({ name, version: one, runName, act, isShown, show }) {
  const { version } = one;
  const addAlias = async () => {
    const alias = (await prompted({ title: `Alias of version ${version}`, label: "Alias; it moves here if another version has it", action: "Set" }))?.trim();
    if (alias) void act(post(`${API}/registered-models/alias`, { name, alias, version }), `@${alias} is version ${version}`);
  };
  const describe = async () => {
    const description = await prompted({ title: `Description of version ${version}`, label: "Text", value: one.description ?? "", rows: 5 });
    if (description !== null) void act(patch(`${API}/model-versions/update`, { name, version, description }), "Saved");
  };
  const remove = async () => {
    if (await confirmed({ title: `Delete version ${version}?`, text: "The files of the run stay; the version can't be restored.", action: "Delete", danger: true })) {
      void act(request("DELETE", `${API}/model-versions/delete`, { name, version }, {}), `Version ${version} deleted`);
    }
  };
  const items = [
    { label: "Set an alias", icon: /** @type {const} */ ("tag"), run: () => void addAlias() },
    { label: "Describe", icon: /** @type {const} */ ("edit"), run: () => void describe() },
    { label: "Stage" },
    ...STAGES.map((stage) => ({ label: stage, checked: one.current_stage === stage, run: () => void act(post(`${API}/model-versions/transition-stage`, { name, version, stage, archive_existing_versions: false }), `Version ${version}: ${stage}`) })),
    { label: "Delete", icon: /** @type {const} */ ("trash"), danger: true, run: () => void remove() },
  ];
  return html`
    <tr class=${isShown ? "shown" : ""}>
      <td class="number"><button class="link" aria-pressed=${isShown} onClick=${show}>${version}</button></td>
      <td>${(one.aliases ?? []).map((/** @type {string} */ alias) => html`<span class="pill">@${alias}${mayWrite() ? html`<button class="icon-button tiny" aria-label=${`Take @${alias} away`} onClick=${() => act(request("DELETE", `${API}/registered-models/alias`, { name, alias }, {}), `@${alias} taken away`)}><${Icon} name="close" size=${10} /></button>` : null}</span> `)}</td>
      <td>${one.current_stage === "None" ? "" : html`<span class="pill">${one.current_stage}</span>`}</td>
      <td class="when">${one.run_id ? html`<a href=${`/runs/${one.run_id}`} title=${one.run_id}>${runName || html`<code>…${one.run_id.slice(-8)}</code>`}</a>` : ""}</td>
      <td class="when">${formatAgo(Number(one.creation_timestamp))}</td><td class="muted words">${one.description ?? ""}</td>
      <td class="menu-cell">${mayWrite() ? html`<${Menu} label="" title=${`More of version ${version}`} icon="more" items=${items} align="right" className="icon-button" />` : null}</td>
    </tr>`;
}
