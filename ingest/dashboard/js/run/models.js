/** The models that a run made: where they are in the registry, how to load them, how to register one. */
import { html } from "../lib.js";
import { ApiError, get, mayWrite, post } from "../api.js";
import { Code, CopyAs, sqlText } from "../components/code.js";
import { prompted } from "../components/dialog.js";
import { Icon } from "../components/icons.js";
import { EmptyState, ErrorState, LoadingState } from "../components/states.js";
import { toast, toastError } from "../components/toast.js";
import { formatAgo } from "../format.js";
import { useLoad } from "../load.js";

const API = "/ajax-api/2.0/mlflow";

/** Everything of the run that is a model, with its versions. @param {any} run @param {AbortSignal} signal */
async function modelsOf(run, signal) {
  const id = run.run_id;
  try {
    const [logged, versions] = await Promise.all([
      post(`${API}/logged-models/search`, { experiment_ids: [String(run.experiment_id)], filter: `source_run_id = '${id}'`, max_results: 50 }, { signal }),
      get(`${API}/model-versions/search`, { query: { filter: `run_id = '${id}'`, max_results: 1000 }, signal }),
    ]);
    return { models: logged.models ?? [], versions: versions.model_versions ?? [] };
  } catch (error) {
    if (error instanceof ApiError && [404, 405].includes(error.status)) return null;
    throw error;
  }
}

/** @param {{run: any}} props */
export function Models({ run }) {
  const { data, error, reload } = useLoad((signal) => modelsOf(run, signal), [run.run_id]);
  if (error) return html`<${ErrorState} error=${error} retry=${reload} />`;
  if (data === undefined) return html`<${LoadingState} what="Looking for models" />`;
  if (data === null) return html`<${EmptyState} title="This service keeps no models" />`;
  const loose = data.versions.filter((/** @type {any} */ one) => !data.models.some((/** @type {any} */ model) => model.info.model_id === one.model_id));
  if (!data.models.length && !loose.length) {
    return html`<${EmptyState} title="This run logged no models" icon="file"><p class="muted"><code>ingest.pytorch.log_model(model, name="model")</code> puts one here.</p></${EmptyState}>`;
  }
  const id = sqlText(run.run_id);
  const sql = `SELECT m.name, m.model_type, m.status, v.name AS registered_as, v.version, v.stage\nFROM logged_models AS m\nFULL JOIN model_versions AS v USING (model_id)\nWHERE m.source_run_id = ${id} OR v.run_id = ${id}`;
  return html`
    <div class="row end charts-copy"><${CopyAs} sql=${sql} /></div>
    <div class="stack">
      ${data.models.map((/** @type {any} */ model) => html`<${Model} key=${model.info.model_id} model=${model} run=${run} versions=${data.versions.filter((/** @type {any} */ one) => one.model_id === model.info.model_id)} reload=${reload} />`)}
      ${loose.length ? html`<section class="card"><header><h2>Registered from this run</h2></header><${Versions} versions=${loose} /></section>` : null}
    </div>`;
}

/** @param {{model: any, run: any, versions: any[], reload: () => void}} props */
function Model({ model, run, versions, reload }) {
  const { info } = model;
  const register = async () => {
    const name = (await prompted({ title: "Register this model", label: "Name in the registry; an existing one gets a new version", value: info.name, action: "Register" }))?.trim();
    if (!name) return;
    try {
      await post(`${API}/registered-models/create`, { name }).catch((error) => {
        if (!(error instanceof ApiError && error.code === "RESOURCE_ALREADY_EXISTS")) throw error;
      });
      const { model_version } = await post(`${API}/model-versions/create`, { name, source: `models:/${info.model_id}`, run_id: run.run_id, model_id: info.model_id });
      toast(`Registered as ${name}, version ${model_version.version}`);
      reload();
    } catch (error) {
      toastError(error);
    }
  };
  return html`
    <section class="card">
      <header><h2>${info.name}</h2><span class="pill">${info.model_type || "model"}</span><span class="muted">${String(info.status ?? "").replace("LOGGED_MODEL_", "").toLowerCase()} · ${formatAgo(Number(info.creation_timestamp_ms))}</span><span class="spacer"></span>
        ${mayWrite() ? html`<button onClick=${register}><${Icon} name="plus" />Register</button>` : null}</header>
      <div class="card-body stack">
        ${versions.length ? html`<${Versions} versions=${versions} />` : null}
        <h3>Load it in Python</h3>
        <${Code} label="how to load the model" code=${loading(`models:/${info.model_id}`)} />
      </div>
    </section>`;
}

/** @param {string} uri */
export const loading = (uri) => `import ingest\n\ningest.set_tracking_uri(${JSON.stringify(location.origin)})\nmodel = ingest.pytorch.load_model(${JSON.stringify(uri)})`;

/** @param {{versions: any[]}} props */
export const Versions = ({ versions }) => html`
  <table class="plain"><thead><tr><th>Registered model</th><th class="number">Version</th><th>Aliases</th><th>Stage</th></tr></thead>
    <tbody>${versions.map((one) => html`<tr><td><a href=${`/models/${encodeURIComponent(one.name)}`}>${one.name}</a></td><td class="number">${one.version}</td><td>${(one.aliases ?? []).map((/** @type {string} */ alias) => html`<span class="pill">@${alias}</span> `)}</td><td>${one.current_stage === "None" ? "" : one.current_stage}</td></tr>`)}</tbody></table>`;
