/** Side by side: a row for each key, a column for each run, the differences marked. The first column stays in sight. */
import { html } from "../lib.js";
import { formatValue } from "../format.js";

/**
 * @param {{title: string, told?: string, rows: Record<string, (string | number | null)[]>, runs: {id: string, name: string, colour: string}[], isNumber?: boolean, empty: string}} props
 */
export function Differences({ title, told, rows, runs, isNumber = false, empty }) {
  const keys = Object.keys(rows);
  return html`
    <section class="card">
      <header><h2>${title}</h2><span class="count">${keys.length || ""}</span>${told ? html`<span class="muted">${told}</span>` : null}</header>
      ${keys.length
        ? html`<div class="scroll-x" tabindex="0" role="region" aria-label=${title}>
            <table class="plain differences">
              <thead><tr><th scope="col">Key</th>${runs.map((run) => html`<th scope="col" class=${isNumber ? "number" : ""}><a href=${`/runs/${run.id}`}><i class="dot" style=${`background: ${run.colour}`}></i>${run.name}</a></th>`)}</tr></thead>
              <tbody>${keys.map((key) => html`<${Row} key=${key} name=${key} values=${rows[key]} isNumber=${isNumber} />`)}</tbody>
            </table>
          </div>`
        : html`<p class="muted pad">${empty}</p>`}
    </section>`;
}

/** @param {{name: string, values: (string | number | null)[], isNumber: boolean}} props */
function Row({ name, values, isNumber }) {
  const usual = mostFrequent(values);
  const differs = new Set(values).size > 1;
  return html`
    <tr>
      <th scope="row">${name}</th>
      ${values.map((value) => html`<td class=${`${isNumber ? "number" : ""}${differs && !isNumber && value !== usual ? " other" : ""}`}>${value === null ? html`<span class="muted">–</span>` : isNumber ? formatValue(value) : value}</td>`)}
    </tr>`;
}

/** @param {(string | number | null)[]} values */
function mostFrequent(values) {
  /** @type {Map<string | number | null, number>} */
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}
