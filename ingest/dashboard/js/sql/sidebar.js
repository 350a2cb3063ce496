/** Beside the editor: the relations with their columns, and the queries that the team keeps. */
import { html } from "../lib.js";
import { mayWrite, remove, request } from "../api.js";
import { confirmed, prompted } from "../components/dialog.js";
import { Icon } from "../components/icons.js";
import { ErrorState } from "../components/states.js";
import { toast, toastError } from "../components/toast.js";

/** @typedef {{name: string, sql: string, updated_at_ms: number, updated_by: string}} SavedQuery */

/** @param {{relations: import("./words.js").Relation[], error: unknown, onPick: (text: string) => void}} props */
export function Schema({ relations, error, onPick }) {
  if (error) return html`<${ErrorState} error=${error} title="The schema could not be read" />`;
  return html`
    <section class="schema" aria-label="Schema">
      <h2>Schema</h2>
      ${relations.map((one) => html`
        <details key=${one.name}>
          <summary title=${one.comment ?? ""}><span>${one.name}</span><small>${one.kind}</small></summary>
          ${one.comment ? html`<p class="muted">${one.comment}</p>` : null}
          <ul>
            ${one.columns.map((column) => html`
              <li><button class="quiet" title=${column.comment ?? "Insert into the statement"} onClick=${() => onPick(column.name)}><span>${column.name}</span><small>${column.type}</small></button></li>`)}
          </ul>
          <button class="link" onClick=${() => onPick(`SELECT *\nFROM ${one.name}\nLIMIT 100`)}>SELECT * FROM ${one.name}</button>
        </details>`)}
    </section>`;
}

/** @param {{queries: SavedQuery[], current: string, onOpen: (query: SavedQuery) => void, onChange: () => void}} props */
export function Saved({ queries, current, onOpen, onChange }) {
  const mayChange = mayWrite();
  const save = async () => {
    const name = await prompted({ title: "Save this query", label: "Name; one that exists is replaced" });
    if (!name?.trim()) return;
    await request("PUT", `/api/v1/saved-queries/${encodeURIComponent(name.trim())}`, { sql: current }, {}).then(() => toast(`Saved as “${name.trim()}”`), toastError);
    onChange();
  };
  /** @param {SavedQuery} query */
  const forget = async (query) => {
    if (!(await confirmed({ title: "Delete the saved query?", text: `“${query.name}” goes for everybody.`, action: "Delete", danger: true }))) return;
    await remove(`/api/v1/saved-queries/${encodeURIComponent(query.name)}`).catch(toastError);
    onChange();
  };
  return html`
    <section class="saved" aria-label="Saved queries">
      <header><h2>Saved queries</h2>${mayChange ? html`<button class="quiet" disabled=${!current.trim()} onClick=${save}><${Icon} name="plus" size=${14} />Save</button>` : null}</header>
      ${queries.length ? null : html`<p class="muted">None yet. What is saved here is there for the whole team.</p>`}
      <ul>
        ${queries.map((query) => html`
          <li key=${query.name}>
            <button class="quiet" title=${query.sql} onClick=${() => onOpen(query)}><span>${query.name}</span><small>${query.updated_by}</small></button>
            ${mayChange ? html`<button class="icon-button small" aria-label=${`Delete ${query.name}`} title="Delete" onClick=${() => forget(query)}><${Icon} name="trash" size=${14} /></button>` : null}
          </li>`)}
      </ul>
    </section>`;
}
