/** The list of experiments. */
import { html, useEffect, useState } from "../lib.js";
import { get } from "../api.js";
import { FirstRun } from "../components/first-run.js";
import { ErrorState, LoadingState } from "../components/states.js";

export default function Experiments() {
  const [state, setState] = useState(/** @type {{experiments?: any[], error?: unknown}} */ ({}));
  const load = () => void get("/api/v1/experiments", { query: { limit: 1000 } }).then((answer) => setState(answer), (error) => setState({ error }));
  useEffect(load, []);
  if (state.error) return html`<${ErrorState} error=${state.error} retry=${load} />`;
  if (!state.experiments) return html`<${LoadingState} what="Looking for experiments" />`;
  if (!state.experiments.length) return html`<${FirstRun} />`;
  return html`
    <div class="page">
      <div class="page-head"><h1>Experiments</h1><span class="count">${state.experiments.length}</span></div>
      <div class="card"><ul>${state.experiments.map((one) => html`<li key=${one.experiment_id}><a href=${`/experiments/${one.experiment_id}`}>${one.name}</a></li>`)}</ul></div>
    </div>`;
}
