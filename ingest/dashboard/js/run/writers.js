/** The processes that logged to a run, by attempt: who, since when, how much, and what they still hold back. */
import { html } from "../lib.js";
import { CopyAs, sqlText } from "../components/code.js";
import { EmptyState } from "../components/states.js";
import { formatAgo, formatCount, formatDuration, formatShort, formatTime } from "../format.js";

/** @param {{run: any}} props */
export function Writers({ run }) {
  if (!run.writers.length) return html`<${EmptyState} title="No process has written to this run yet" />`;
  const attempts = [...new Set(run.writers.map((/** @type {any} */ one) => one.attempt))];
  return html`
    <div class="stack">
      ${attempts.map((attempt) => {
        const own = run.writers.filter((/** @type {any} */ one) => one.attempt === attempt);
        const from = own.find((/** @type {any} */ one) => one.resume_from_step !== null)?.resume_from_step;
        return html`
          <section class="card">
            <header><h2>Attempt ${attempt}</h2>${from !== undefined ? html`<span class="muted">resumed from step ${formatCount(from)}; later points of earlier attempts are superseded</span>` : null}<span class="spacer"></span>
              <${CopyAs} sql=${`SELECT rank, host, pid, client, points, last_seq, heartbeat_at, stats\nFROM writers\nWHERE run_id = ${sqlText(run.run_id)} AND attempt = ${attempt}\nORDER BY rank`} /></header>
            <div class="scroll-x" tabindex="0" role="region" aria-label=${`Writers of attempt ${attempt}`}>
              <table class="plain"><thead><tr><th class="number">Rank</th><th>Host</th><th class="number">Process</th><th>Client</th><th class="number">Points</th><th class="number">Batches</th><th>Last heard</th><th class="number">Held back</th><th class="number">Retries</th><th class="number">Lost</th><th class="number">A call costs</th><th class="number">Client CPU</th></tr></thead>
                <tbody>${own.map((/** @type {any} */ one) => html`<${Writer} key=${one.writer_id} writer=${one} />`)}</tbody>
              </table>
            </div>
          </section>`;
      })}
    </div>`;
}

/** @param {{writer: any}} props */
function Writer({ writer }) {
  const { stats } = writer;
  const heard = Date.parse(writer.heartbeat_at);
  const lost = (stats.dropped ?? 0) + (stats.rejected ?? 0);
  return html`
    <tr>
      <td class="number">${writer.rank}${writer.world_size ? html`<span class="muted"> of ${writer.world_size}</span>` : null}</td>
      <td>${writer.host || "–"}</td><td class="number mono">${writer.pid ?? ""}</td><td>${writer.client || "–"}</td>
      <td class="number">${formatCount(writer.points)}</td><td class="number">${formatCount(writer.last_seq)}</td>
      <td title=${formatTime(heard)}>${writer.ended_at_ms ? `ended ${formatAgo(writer.ended_at_ms)}` : formatAgo(heard)}</td>
      <td class="number" title="points in the client's spool at its last heartbeat; it sends one every 20 seconds and one at its end">${stats.spooled === undefined ? "–" : formatShort(stats.spooled)}</td>
      <td class="number">${stats.retries ?? "–"}</td>
      <td class=${`number${lost ? " bad" : ""}`} title="points that the client dropped or the service rejected">${stats.accepted === undefined ? "–" : formatCount(lost)}</td>
      <td class="number" title="what one logging call keeps the training loop, as the client measured it on that machine">${stats.call_cost_ns === undefined ? "–" : `${(stats.call_cost_ns / 1000).toFixed(2)} µs`}</td>
      <td class="number" title="processor time of the client's sending thread until its last heartbeat">${stats.sender_cpu_ms === undefined ? "–" : formatDuration(stats.sender_cpu_ms)}</td>
    </tr>`;
}
