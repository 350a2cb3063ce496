/** Which columns the table has: from fields to cells, and the panel where they are chosen. */
import { html, useState } from "../lib.js";
import { Elapsed, Status } from "../components/elapsed.js";
import { Popover } from "../components/menu.js";
import { formatAgo, formatDuration, formatTime, formatValue } from "../format.js";
import { keyMatcher } from "../charts/match.js";
import { ATTRIBUTES, SUMMARIES, fieldOf, isNumeric, labelOf, parsed, valueOf } from "./fields.js";
import { meanOf } from "./groups.js";

/** A row of the table: a run, or the head of a group. @typedef {{run?: import("./fields.js").Run, group?: import("./groups.js").RunGroup, isOpen?: boolean}} Row */

const WIDTHS = { name: 200, status: 94, start_time: 104, duration: 98, end_time: 104, user: 90, experiment: 130, lifecycle: 80, run_id: 250 };

/**
 * @param {string} field
 * @param {Record<string, string>} widths
 * @param {(row: Row) => any} nameCell
 * @returns {import("../table/table.js").Column<Row>}
 */
export function columnOf(field, widths, nameCell) {
  const label = labelOf(field);
  const wide = Number(widths[field]) || (WIDTHS[/** @type {keyof typeof WIDTHS} */ (field)] ?? Math.max(84, Math.min(170, 34 + label.length * 7.2)));
  return { id: field, label, width: wide, isNumeric: isNumeric(field), cell: field === "name" ? nameCell : (row) => (row.run ? cellOf(row.run, field) : row.group ? groupCell(row.group, field) : null) };
}

/** @param {import("./fields.js").Run} run @param {string} field */
function cellOf(run, field) {
  const value = valueOf(run, field);
  if (field === "status") return html`<${Status} status=${run.lifecycle === "deleted" ? "DELETED" : (run.status ?? "")} />`;
  if (field === "duration") return html`<${Elapsed} start=${run.start_time_ms} end=${run.end_time_ms} isRunning=${run.status === "RUNNING"} />`;
  if (field === "start_time" || field === "end_time") return html`<time title=${formatTime(/** @type {number} */ (value))}>${formatAgo(/** @type {number} */ (value))}</time>`;
  if (parsed(field).kind === "metric") return html`<span title=${String(value ?? "")}>${formatValue(value)}</span>`;
  return html`<span class="truncate" title=${value ?? ""}>${value ?? ""}</span>`;
}

/** @param {import("./groups.js").RunGroup} group @param {string} field */
function groupCell(group, field) {
  const mean = meanOf(group, field);
  if (mean === null) return null;
  return html`<span class="muted" title="Mean of the group">${field === "duration" ? formatDuration(mean) : formatValue(mean)}</span>`;
}

const MOST = 200;

/** @param {{fields: string[], keys: import("./filter.js").Keys, onChange: (fields: string[]) => void, pinned: number, onPin: (n: number) => void}} props */
export function ColumnChooser({ fields, keys, onChange, pinned, onPin }) {
  const [find, setFind] = useState("");
  const [summary, setSummary] = useState("last");
  const { test } = keyMatcher(find);
  const offered = [
    { title: "Run", fields: ATTRIBUTES.filter(test) },
    { title: "Metrics", fields: keys.metrics.filter(({ key }) => test(key)).slice(0, MOST).map(({ key }) => fieldOf("metric", key, summary)) },
    { title: "Params", fields: keys.params.filter(({ key }) => test(key)).slice(0, MOST).map(({ key }) => fieldOf("param", key)) },
    { title: "Tags", fields: keys.tags.filter(({ key }) => test(key)).slice(0, MOST).map(({ key }) => fieldOf("tag", key)) },
  ];
  /** @param {string} field */
  const toggle = (field) => onChange(fields.includes(field) ? fields.filter((one) => one !== field) : [...fields, field]);
  return html`
    <${Popover} label="Columns" icon="columns" className="quiet" title="Columns of the table">
      <div class="chooser">
        <input type="search" placeholder="Search fields" aria-label="Search fields" value=${find} onInput=${(/** @type {any} */ event) => setFind(event.currentTarget.value)} />
        <div class="row">
          <label class="inline">Summary of a metric
            <select value=${summary} onChange=${(/** @type {any} */ event) => setSummary(event.currentTarget.value)}>${SUMMARIES.map((one) => html`<option selected=${one === summary}>${one}</option>`)}</select>
          </label>
          <label class="inline">In sight
            <select aria-label="Columns that stay in sight" value=${String(pinned)} onChange=${(/** @type {any} */ event) => onPin(Number(event.currentTarget.value))}>${[0, 1, 2, 3, 4].map((n) => html`<option value=${String(n)} selected=${n === pinned}>${n}</option>`)}</select>
          </label>
        </div>
        ${offered.filter((one) => one.fields.length).map(
          ({ title, fields: some }) => html`
            <fieldset><legend>${title}</legend>
              ${some.map((field) => html`<label class="check" key=${field}><input type="checkbox" checked=${fields.includes(field)} disabled=${field === "name"} onChange=${() => toggle(field)} /><span class="truncate">${labelOf(field)}</span></label>`)}
            </fieldset>`,
        )}
      </div>
    </${Popover}>`;
}

/** @param {{group: string[], keys: import("./filter.js").Keys, onChange: (fields: string[]) => void}} props */
export function GroupChooser({ group, keys, onChange }) {
  const fields = ["status", "user", "experiment", ...keys.params.slice(0, MOST).map(({ key }) => fieldOf("param", key)), ...keys.tags.filter(({ key }) => !key.startsWith("mlflow.note")).slice(0, MOST).map(({ key }) => fieldOf("tag", key))];
  return html`
    <${Popover} label=${group.length ? `Group: ${group.map(labelOf).join(", ")}` : "Group"} icon="group" className="quiet" title="Group runs by equal values">
      <div class="chooser">
        ${fields.map((field) => html`<label class="check" key=${field}><input type="checkbox" checked=${group.includes(field)} onChange=${() => onChange(group.includes(field) ? group.filter((one) => one !== field) : [...group, field])} /><span class="truncate">${field}</span></label>`)}
        ${group.length ? html`<button class="link" onClick=${() => onChange([])}>No groups</button>` : null}
      </div>
    </${Popover}>`;
}
