/** How the service is doing, live: rates and lag, queue and rejects, what lies in the database and whose it is, compaction and sealing. */
import { html, useEffect, useState } from "../lib.js";
import { get, session } from "../api.js";
import { Icon } from "../components/icons.js";
import { ErrorState, LoadingState } from "../components/states.js";
import { formatAgo, formatBytes, formatCount, formatDuration, formatShort } from "../format.js";
import { useLoad } from "../load.js";
import { ratesBetween, sum } from "../operations/rates.js";
import { Sparkline } from "../operations/sparkline.js";
import { logOut } from "../session.js";
import { useStore } from "../store.js";

const EVERY_MS = 2500;
const KEPT = 120;

export default function Operations() {
  const { data, error, reload } = useLoad((signal) => get("/api/v1/operations", { signal }), [], { everyMs: EVERY_MS });
  const [seen, setSeen] = useState(/** @type {{last: any, rates: import("../operations/rates.js").Rate[]}} */ ({ last: null, rates: [] }));
  useEffect(() => {
    if (!data) return;
    setSeen(({ last, rates }) => {
      // The database's numbers are some seconds old: a rate only between two that differ in age.
      if (last && last.database.activity_measured_ms === data.database.activity_measured_ms) return { last, rates };
      return { last: data, rates: last ? [...rates, ratesBetween(last, data)].slice(-KEPT) : rates };
    });
  }, [data]);
  if (!data) return error ? html`<${ErrorState} error=${error} retry=${reload} />` : html`<${LoadingState} what="Asking the service" />`;
  const { service, database } = data;
  const now = seen.rates.at(-1);
  return html`
    <div class="page operations">
      <div class="page-head">
        <h1>Operations</h1>
        ${error ? html`<span class="pill offline" role="status">Not refreshed: ${error instanceof Error ? error.message : ""}</span>` : html`<span class="status running">live</span>`}
        <span class="spacer"></span><${Who} />
      </div>
      <div class="tiles">
        <${Tile} label="Points a second" value=${now ? formatShort(Math.round(now.pointsPerSecond ?? 0)) : "…"} told="stored in the database, by all services" />
        <${Tile} label="Lag" value=${now?.own?.lagMs ? formatDuration(now.own.lagMs) : "–"} told="from a client's sending to the commit, mean of the last seconds" />
        <${Tile} label="Queue" value=${formatBytes(service.queue_bytes)} told=${`${formatCount(service.queue_batches)} batches accepted, not yet committed`} />
        <${Tile} label="Writers alive" value=${formatCount(database.writers.alive)} told=${`in ${formatCount(database.writers.alive_runs)} runs; they hold ${formatShort(database.writers.backlog)} points back`} />
        <${Tile} label="Rejected requests" value=${formatCount(sum(service.rejects))} told="since this service started" bad=${sum(service.rejects) > 0} />
        <${Tile} label="Database" value=${formatBytes(database.database_bytes)} told=${database.bytes_per_point ? `${formatShort(database.writers.points)} points, ${database.bytes_per_point.toFixed(1)} bytes each` : "no points yet"} />
      </div>
      <section class="card"><header><h2>Ingestion</h2><span class="muted">points a second since this page was opened</span></header>
        <div class="card-body"><${Sparkline} values=${seen.rates.map((one) => one.pointsPerSecond)} label="Points a second" width=${900} height=${84} /></div>
      </section>
      <div class="two-columns">
        <${ServiceCard} service=${service} own=${now?.own ?? null} />
        <${StateCard} service=${service} database=${database} />
      </div>
      <div class="two-columns">
        <${Largest} title="Largest experiments" rows=${database.largest_experiments} perPoint=${database.bytes_per_point} href=${(/** @type {any} */ one) => `/experiments/${one.experiment_id}`} told=${(/** @type {any} */ one) => `${formatCount(one.runs)} runs`} />
        <${Largest} title="Largest runs" rows=${database.largest_runs} perPoint=${database.bytes_per_point} href=${(/** @type {any} */ one) => `/runs/${one.run_id}`} told=${(/** @type {any} */ one) => one.experiment} />
      </div>
      <${Tables} tables=${database.tables} measured_ms=${database.volume_measured_ms} connections=${database.connections} />
    </div>`;
}

/** Who is logged in, and the way out. */
function Who() {
  const { name, role } = useStore(session);
  if (name === "local") return null;
  return html`<span class="pill" title=${`role ${role}`}>${name} · ${role}</span><button class="quiet" onClick=${() => void logOut()}>Log out</button>`;
}

/** @param {{label: string, value: string, told: string, bad?: boolean}} props */
function Tile({ label, value, told, bad = false }) {
  return html`<div class="card tile"><span class="tile-label">${label}</span><span class=${`tile-value${bad ? " bad" : ""}`}>${value}</span><span class="muted small">${told}</span></div>`;
}

/** @param {{rows: [string, any][]}} props */
const Facts = ({ rows }) => html`<dl class="facts">${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** @param {{service: any, own: import("../operations/rates.js").Rate["own"]}} props */
function ServiceCard({ service, own }) {
  const rejected = Object.entries(service.rejects);
  return html`
    <section class="card"><header><h2>This service</h2><span class="muted">its own counters, of all its workers</span></header>
      <${Facts} rows=${[
        ["Instance", html`<code>${service.instance}</code>`],
        ["Release", `${service.version}, ${service.workers === 1 ? "one process" : `${service.workers} workers`}, started ${formatAgo(service.started_ms)}`],
        ["Points", `${formatShort(service.points.stored ?? 0)} stored, ${formatShort(service.points.repeated ?? 0)} repeated, ${formatShort(service.points.refused ?? 0)} refused`],
        ["Now", own ? `${formatShort(Math.round(own.pointsPerSecond))} points, ${formatShort(own.batchesPerSecond)} batches a second` : "…"],
        ["Commit", own?.commitMs ? `${formatDuration(own.commitMs)} each` : "none in the last seconds"],
        ["Received", formatBytes(service.received_bytes)],
        ["Rejects", rejected.length ? rejected.map(([reason, n]) => html`<span class="pill bad">${reason}: ${formatCount(/** @type {number} */ (n))}</span> `) : "none"],
        ["Live streams", formatCount(service.live_streams)],
        ["Free disk", service.free_disk_bytes === null ? "unknown" : formatBytes(service.free_disk_bytes)],
      ]} />
    </section>`;
}

/** @param {{service: any, database: any}} props */
function StateCard({ service, database }) {
  /** @param {(one: any) => boolean} wanted @param {string} name */
  const count = (wanted, name = "runs") => database.runs.filter(wanted).reduce((/** @type {number} */ total, /** @type {any} */ one) => total + one[name], 0);
  const all = count(() => true);
  const sealed = count(() => true, "sealed");
  const bytes = Object.fromEntries(database.tables.map((/** @type {any} */ one) => [one.name, one.bytes]));
  const packed = bytes.packed_chunks ?? 0;
  const fresh = bytes.metric_chunks ?? 0;
  const { compaction } = service;
  return html`
    <section class="card"><header><h2>Database</h2><span class="muted">the same whichever service is asked</span></header>
      <${Facts} rows=${[
        ["Runs", `${formatCount(all)}: ${formatCount(count((one) => one.status === "RUNNING"))} running, ${formatCount(count((one) => one.status === "LOST"))} lost, ${formatCount(count((one) => one.lifecycle === "deleted"))} deleted`],
        ["Sealed for search", html`<${Progress} part=${sealed} whole=${all} label=${`${formatCount(sealed)} of ${formatCount(all)} runs`} />`],
        ["Compacted", html`<${Progress} part=${packed} whole=${packed + fresh} label=${`${formatBytes(packed)} packed, ${formatBytes(fresh)} fresh`} />`],
        ["Compaction here", `${formatShort(compaction.points)} points packed, ${formatShort(compaction.chunks)} chunks replaced, ${formatShort(compaction.waiting_chunks)} waiting for more`],
        ["Writers", `${formatCount(database.writers.total)} ever, ${formatCount(database.writers.alive)} alive`],
        ["Connections", database.connections.map((/** @type {any} */ one) => html`<span class="pill" title=${`${one.active} active`}>${one.name || "unnamed"}: ${one.connections}</span> `)],
      ]} />
    </section>`;
}

/** @param {{part: number, whole: number, label: string}} props */
const Progress = ({ part, whole, label }) => html`<div class="progress-row"><progress max=${whole || 1} value=${part} aria-label=${label}></progress><span>${label}</span></div>`;

/** @param {{title: string, rows: any[], perPoint: number | null, href: (one: any) => string, told: (one: any) => string}} props */
function Largest({ title, rows, perPoint, href, told }) {
  const most = Math.max(...rows.map((one) => one.points), 1);
  return html`
    <section class="card"><header><h2>${title}</h2><span class="muted">bytes are estimated from points</span></header>
      ${rows.length ? null : html`<p class="muted pad">Nothing yet.</p>`}
      <ol class="largest">
        ${rows.slice(0, 10).map((one) => html`
          <li><a class="truncate" href=${href(one)}>${one.name || one.run_id}</a><span class="muted truncate small">${told(one)}</span>
            <span class="bar"><i style=${`width: ${Math.max(1, (100 * one.points) / most)}%`}></i></span>
            <span class="number">${formatShort(one.points)}</span><span class="number muted">${perPoint ? formatBytes(Math.round(one.points * perPoint)) : ""}</span></li>`)}
      </ol>
    </section>`;
}

/** @param {{tables: any[], measured_ms: number, connections: any[]}} props */
function Tables({ tables, measured_ms }) {
  return html`
    <section class="card"><header><h2>Tables</h2><span class="muted"><${Icon} name="refresh" size=${12} /> measured ${formatAgo(measured_ms)}</span></header>
      <div class="scroll-x" tabindex="0" role="region" aria-label="Tables">
        <table class="plain"><thead><tr><th>Table</th><th class="number">Rows, estimated</th><th class="number">Bytes</th><th class="number">of them indexes</th></tr></thead>
          <tbody>${tables.filter((one) => one.rows_estimate > 0 || one.bytes > 65_536).map((one) => html`<tr><td><code>${one.name}</code></td><td class="number">${formatCount(one.rows_estimate)}</td><td class="number">${formatBytes(one.bytes)}</td><td class="number">${formatBytes(one.index_bytes)}</td></tr>`)}</tbody>
        </table>
      </div>
    </section>`;
}
