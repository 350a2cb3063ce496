/** What a service without runs shows: the five lines of Python that log the first one, with this service's own address. */
import { html } from "../lib.js";
import { copyText } from "./toast.js";
import { EmptyState } from "./states.js";

/** @param {{experiment?: string}} props */
export function FirstRun({ experiment = "first-steps" }) {
  const code = [
    "import ingest",
    `ingest.set_tracking_uri("${location.origin}")`,
    `ingest.set_experiment(${JSON.stringify(experiment)})`,
    "with ingest.start_run() as run:",
    '    for step in range(1000): run.log_metrics({"loss": 1 / (step + 1)}, step=step)',
  ].join("\n");
  return html`
    <${EmptyState} title="No runs yet">
      <p class="muted">These five lines of Python log the first one. It appears here while it runs.</p>
      <div class="code"><pre tabindex="0">${code}</pre><button class="copy" onClick=${() => copyText(code)}>Copy</button></div>
    </${EmptyState}>`;
}
