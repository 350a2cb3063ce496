/** The runs of an experiment: a table and their charts. */
import { html, useEffect, useState } from "../lib.js";
import { post } from "../api.js";
import { ErrorState, LoadingState } from "../components/states.js";

/** @param {{experimentId?: string}} props */
export default function Runs({ experimentId }) {
  const [state, setState] = useState(/** @type {{runs?: any[], error?: unknown}} */ ({}));
  const load = () => void post("/api/v1/runs/search", { experiments: experimentId ? [Number(experimentId)] : undefined }).then((answer) => setState(answer), (error) => setState({ error }));
  useEffect(load, [experimentId]);
  if (state.error) return html`<${ErrorState} error=${state.error} retry=${load} />`;
  if (!state.runs) return html`<${LoadingState} what="Looking for runs" />`;
  return html`
    <div class="page">
      <div class="page-head"><h1>Runs</h1></div>
      <div class="card"><ul>${state.runs.map((one) => html`<li key=${one.run_id}><a href=${`/runs/${one.run_id}`}>${one.name}</a></li>`)}</ul></div>
    </div>`;
}
