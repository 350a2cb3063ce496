/** The registry: all registered models. */
import { html } from "../lib.js";
import { ApiError, get } from "../api.js";
import { firstLine } from "../components/markdown.js";
import { EmptyState, ErrorState, LoadingState } from "../components/states.js";
import { formatAgo } from "../format.js";
import { useLoad } from "../load.js";
import { text, useView } from "../url.js";

const VIEW = { find: text(), after: text() };

export default function Models() {
  const [view, change] = useView(VIEW);
  const { data, error, reload } = useLoad(
    (signal) => get("/ajax-api/2.0/mlflow/registered-models/search", { query: { filter: view.find ? `name ILIKE '%${view.find.replaceAll("'", "''")}%'` : "", max_results: 100, page_token: view.after }, signal }),
    [view.find, view.after],
  );
  if (error instanceof ApiError && error.status === 404) return html`<${EmptyState} title="This service keeps no models" />`;
  const models = data?.registered_models ?? [];
  return html`
    <div class="page">
      <div class="page-head"><h1>Models</h1><span class="spacer"></span>
        <input type="search" placeholder="Search by name" aria-label="Search models" value=${view.find} onInput=${(/** @type {any} */ event) => change({ find: event.target.value, after: "" }, { replace: true })} /></div>
      ${error ? html`<${ErrorState} error=${error} retry=${reload} />` : null}
      ${!data && !error ? html`<${LoadingState} what="Looking for models" />` : null}
      ${data && !models.length ? html`<${EmptyState} title=${view.find ? "No model is called so" : "No registered models yet"} icon="file"><p class="muted">Register one from a run's tab Models, or by <code>ingest.register_model("runs:/RUN/model", "name")</code>.</p></${EmptyState}>` : null}
      ${models.length
        ? html`<div class="card scroll-x" tabindex="0" role="region" aria-label="Registered models">
            <table class="plain"><thead><tr><th>Name</th><th>Latest versions</th><th>Aliases</th><th>Description</th><th>Changed</th></tr></thead>
              <tbody>${models.map((/** @type {any} */ one) => html`
                <tr key=${one.name}><td><a href=${`/models/${encodeURIComponent(one.name)}`}>${one.name}</a></td>
                  <td>${(one.latest_versions ?? []).map((/** @type {any} */ version) => html`<span class="pill">v${version.version}${version.current_stage === "None" ? "" : ` ${version.current_stage}`}</span> `)}</td>
                  <td>${(one.aliases ?? []).map((/** @type {any} */ alias) => html`<span class="pill">@${alias.alias} → v${alias.version}</span> `)}</td>
                  <td class="muted words">${firstLine(one.description ?? "")}</td><td class="when">${formatAgo(Number(one.last_updated_timestamp))}</td></tr>`)}</tbody></table></div>`
        : null}
      ${data?.next_page_token ? html`<div class="row pad"><button onClick=${() => change({ after: data.next_page_token })}>Next page</button></div>` : null}
    </div>`;
}
