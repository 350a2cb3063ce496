/** Where and out of what code a run came: tags that its client wrote by itself, and the files that it left. */
import { html } from "../lib.js";
import { get, request } from "../api.js";
import { Code, CopyAs, sqlText } from "../components/code.js";
import { EmptyState } from "../components/states.js";
import { formatCount } from "../format.js";
import { useLoad } from "../load.js";

const FILES = /** @type {const} */ ([["environment/git.diff", "Changes that were not committed"], ["environment/packages.txt", "Packages"]]);
const NAMES = { "mlflow.source.name": "Script", "mlflow.source.type": "Started as", "mlflow.source.git.commit": "Commit", "mlflow.source.git.branch": "Branch", "mlflow.source.git.repoURL": "Repository", "mlflow.user": "User" };

/** @param {{run: any}} props */
export function Environment({ run }) {
  const facts = Object.entries(run.tags)
    .filter(([key]) => key in NAMES || key.startsWith("ingest.env.") || key.startsWith("mlflow.source."))
    .map(([key, value]) => [NAMES[/** @type {keyof typeof NAMES} */ (key)] ?? key.replace(/^(ingest\.env|mlflow\.source)\./, ""), value]);
  const { data: files } = useLoad((signal) => filesOf(run.run_id, signal), [run.run_id]);
  if (!facts.length && files && files.every((one) => one === null)) {
    return html`<${EmptyState} title="Nothing is known of this run's environment" icon="file"><p class="muted">The client notes host, command, commit and packages by itself, unless that was switched off or another client logged the run.</p></${EmptyState}>`;
  }
  return html`
    <div class="stack">
      ${facts.length ? html`<section class="card"><header><h2>Environment</h2><span class="spacer"></span><${CopyAs} sql=${`SELECT key, value FROM tags\nWHERE run_id = ${sqlText(run.run_id)} AND (key LIKE 'ingest.env.%' OR key LIKE 'mlflow.source.%')`} /></header>
        <dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd><code>${value}</code></dd></div>`)}</dl></section>` : null}
      ${FILES.map(([path, label], i) => (files?.[i] ? html`<section class="card"><header><h2>${label}</h2><a href=${`/api/v1/runs/${run.run_id}/artifacts/${path}`} download>${path}</a></header><div class="card-body">${path.endsWith(".diff") ? html`<${Diff} text=${files[i]} />` : html`<${Code} code=${files[i]} label=${label} />`}</div></section>` : null))}
    </div>`;
}

const MOST_LINES = 5000;

/** @param {{text: string}} props */
function Diff({ text }) {
  const lines = text.split("\n");
  return html`<pre class="diff" tabindex="0">${lines.slice(0, MOST_LINES).map((line) => html`<span class=${kindOf(line)}>${`${line}\n`}</span>`)}</pre>
    ${lines.length > MOST_LINES ? html`<p class="muted">${`The first ${formatCount(MOST_LINES)} of ${formatCount(lines.length)} lines; the file has all.`}</p>` : null}`;
}

/** @param {string} line */
const kindOf = (line) => (/^[+](?!\+\+)/.test(line) ? "added" : /^-(?!--)/.test(line) ? "removed" : /^@@/.test(line) ? "place" : "");

/** Texts of FILES, null for one that is not there. @param {string} runId @param {AbortSignal} signal @returns {Promise<(string | null)[]>} */
async function filesOf(runId, signal) {
  const { files } = await get(`/api/v1/runs/${runId}/artifacts`, { query: { path: "environment" }, signal });
  const there = new Set(files.map((/** @type {{path: string}} */ one) => one.path));
  return Promise.all(FILES.map(async ([path]) => (there.has(path) ? (await request("GET", `/api/v1/runs/${runId}/artifacts/${path}`, undefined, { signal, accept: "*/*" })).text() : null)));
}
