/** The runs of an experiment, or of all: a table to find and choose them, beside the curves of those chosen. */
import { html, useCallback, useEffect, useMemo, useRef, useState } from "../lib.js";
import { get, mayWrite, post, session } from "../api.js";
import { NAMED, coloursOf } from "../charts/colours.js";
import { ChartGrid } from "../charts/grid.js";
import { CopyAs, pythonStart, sqlText } from "../components/code.js";
import { FirstRun } from "../components/first-run.js";
import { Icon } from "../components/icons.js";
import { useKeys } from "../components/keys.js";
import { Menu } from "../components/menu.js";
import { EmptyState, ErrorState } from "../components/states.js";
import { copyText } from "../components/toast.js";
import { formatCount } from "../format.js";
import { ColumnChooser, GroupChooser, columnOf } from "../runs/columns.js";
import { deleteRuns, editNote, renameRun, restoreRuns, showNote, tagRuns } from "../runs/edit.js";
import { firstFields } from "../runs/fields.js";
import { FilterInput } from "../runs/filter.js";
import { grouped } from "../runs/groups.js";
import { useRuns } from "../runs/list.js";
import { RUNS_VIEW } from "../runs/view.js";
import { useStore } from "../store.js";
import { Table } from "../table/table.js";
import { navigate, useView } from "../url.js";

const FIRST_SHOWN = 10; // runs with curves while none is selected
const MOST_SHOWN = 200;
const NO_KEYS = { params: [], metrics: [], tags: [] };

/** @param {{experimentId?: string}} props */
export default function Runs({ experimentId }) {
  const [view, change] = useView(RUNS_VIEW);
  useStore(session);
  const experiments = useMemo(() => (experimentId === undefined ? undefined : [Number(experimentId)]), [experimentId]);
  const { keys, experiment, error: startError } = useStart(experiments);
  const fields = useMemo(() => (view.col.length ? view.col : keys && firstFields(keys, experiments !== undefined)), [view.col, keys]);
  const asked = useMemo(() => fields && [...new Set([...fields, ...view.group])], [fields, view.group]);
  const found = useRuns({ filter: view.filter, order: view.order, experiments, life: view.life, fields: asked });
  const filterRef = useRef(/** @type {HTMLInputElement | null} */ (null));
  const [closed, setClosed] = useState(/** @type {string[]} */ ([]));

  const groups = useMemo(() => (view.group.length ? grouped(found.runs, view.group) : null), [found.runs, view.group]);
  const rows = useMemo(() => rowsOf(found.runs, groups, closed), [found.runs, groups, closed]);
  const shown = useShown(found.runs, view);
  const colours = useMemo(() => coloursOf(shown.map((run) => run.run_id), view.colour), [shown, view.colour]);
  const chartRuns = useMemo(() => shown.map((run) => ({ id: run.run_id, name: run.name || run.run_id.slice(0, 8), colour: colours.get(run.run_id) ?? "" })), [shown, colours]);
  const chartGroups = useMemo(() => groups && groupsShown(groups, shown), [groups, shown]);
  const live = useMemo(() => shown.filter((run) => run.status === "RUNNING" || run.status === "LOST").map((run) => run.run_id), [shown]);

  const onNews = useCallback((/** @type {import("../stream.js").RunNews[]} */ news) => {
    const byId = new Map(news.map((one) => [one.run_id, one]));
    found.edit((runs) => runs.map((run) => { const one = byId.get(run.run_id); return one && (one.status !== run.status || one.end_time_ms !== run.end_time_ms) ? { ...run, status: one.status, end_time_ms: one.end_time_ms } : run; }));
  }, [found.edit]);
  /** @param {string[]} ids */
  const compare = (ids) => navigate(`/compare?${ids.map((id) => `run=${id}`).join("&")}`);
  useKeys("Runs", [
    { keys: "/", does: "Filter runs", run: () => filterRef.current?.focus() },
    { keys: "t", does: "Table, charts or both", run: () => change({ show: view.show === "both" ? "table" : view.show === "table" ? "charts" : "both" }) },
    { keys: "c", does: "Compare the selected runs", run: () => view.sel.length > 1 && compare(view.sel) },
    { keys: "j", does: "Next row (also ↓); k or ↑ for the one before", run: () => focusTable() },
    { keys: "x", does: "Select the row (also space)", run: () => focusTable() },
    { keys: "h", does: "To the heads of the columns: Alt with ← or → moves one", run: () => focusHead() },
  ]);
  if (startError) return html`<${ErrorState} error=${startError} />`;
  const isEmpty = !found.isLoading && !found.error && !found.count && !view.filter && view.life === "active";
  const title = experiments ? (experiment?.name ?? "…") : "All runs";
  return html`
    <div class=${`page runs-page show-${view.show}`}>
      <div class="page-head">
        <div class="crumbs"><a href="/experiments">Experiments</a><${Icon} name="right" size=${12} /><h1 class="truncate">${title}</h1></div>
        <span class="spacer"></span>
        <div class="segmented" role="group" aria-label="Show">
          ${/** @type {const} */ (["table", "both", "charts"]).map((one) => html`<button aria-pressed=${view.show === one} onClick=${() => change({ show: one })}>${{ both: "Both", table: "Table", charts: "Charts" }[one]}</button>`)}
        </div>
      </div>
      ${isEmpty ? html`<${FirstRun} experiment=${experiment?.name} />` : html`
        <div class="runs-split">
          <${RunList} view=${view} change=${change} found=${found} rows=${rows} keys=${keys ?? NO_KEYS} fields=${fields} colours=${colours} experiments=${experiments} filterRef=${filterRef} closed=${closed} setClosed=${setClosed} compare=${compare} />
          ${view.show === "table" || (!shown.length && (found.isLoading || found.error)) ? null : html`<${ChartGrid} runs=${chartRuns} groups=${chartGroups ?? undefined} live=${live} view=${view} change=${change} onNews=${onNews} />`}
        </div>`}
    </div>`;
}

/** The table with what stands above it: filter, columns, groups, what can be done with the selected. @param {any} props */
function RunList({ view, change, found, rows, keys, fields, colours, experiments, filterRef, closed, setClosed, compare }) {
  /** @param {string} id */
  const toggle = (id) => change({ sel: view.sel.includes(id) ? view.sel.filter((/** @type {string} */ one) => one !== id) : [...view.sel, id] }, { replace: true });
  return html`
    <section class="runs-list card" aria-label="Runs">
      <${FilterInput} value=${view.filter} keys=${keys} error=${found.error} inputRef=${filterRef} onChange=${(/** @type {string} */ filter, /** @type {{replace: boolean}} */ how) => change({ filter }, how)} count=${found.isStale ? "" : formatCount(found.count)} />
      <div class="runs-tools">
        <${ColumnChooser} fields=${fields ?? []} keys=${keys} pinned=${Number(view.pin) || 0} onChange=${(/** @type {string[]} */ col) => change({ col })} onPin=${(/** @type {number} */ n) => change({ pin: String(n) })} />
        <${GroupChooser} group=${view.group} keys=${keys} onChange=${(/** @type {string[]} */ group) => change({ group })} />
        <select aria-label="Which runs" value=${view.life} onChange=${(/** @type {any} */ event) => change({ life: event.currentTarget.value, sel: [] })}>
          <option value="active" selected=${view.life === "active"}>Active</option><option value="deleted" selected=${view.life === "deleted"}>Deleted</option><option value="all" selected=${view.life === "all"}>All</option>
        </select>
        <${CopyAs} ...${codeOf(view, experiments, view.sel.length ? view.sel : found.runs.map((/** @type {import("../runs/fields.js").Run} */ run) => run.run_id))} />
        <span class="spacer"></span>
        ${view.sel.length ? html`<${Selection} view=${view} change=${change} compare=${compare} reload=${found.reload} />` : html`<span class="count">${found.isLoading ? "…" : found.error ? "" : `${formatCount(found.count)} run${found.count === 1 ? "" : "s"}`}</span>`}
      </div>
      <${RunTable} rows=${rows} fields=${fields ?? ["name"]} view=${view} change=${change} colours=${colours} toggle=${toggle} loadMore=${found.loadMore} reload=${found.reload} closed=${closed} setClosed=${setClosed} />
      ${found.error && !isFilterError(found.error) ? html`<${ErrorState} error=${found.error} retry=${found.reload} />` : null}
      ${!found.isLoading && !found.error && !rows.length ? html`<${EmptyState} title="No run fits" icon="search"><p class="muted">${view.life === "deleted" ? "Nothing is deleted." : "Change the filter, or look among the deleted ones."}</p></${EmptyState}>` : null}
    </section>`;
}

/** How to get these runs: by the same search, or by their ids. @param {import("../runs/view.js").RunsView} view @param {number[] | undefined} experiments @param {string[]} ids */
function codeOf(view, experiments, ids) {
  const search = [
    `experiment_ids=${experiments ? JSON.stringify(experiments.map(String)) : "None"}`,
    ...(view.filter ? [`filter_string=${JSON.stringify(view.filter)}`] : []),
    ...(view.order ? [`order_by=${JSON.stringify([view.order])}`] : []),
    'output_format="list"',
  ];
  return {
    sql: ids.length ? `SELECT *\nFROM runs\nWHERE run_id IN (${ids.slice(0, MOST_SHOWN).map(sqlText).join(", ")})\nORDER BY start_time_ms DESC` : "SELECT *\nFROM runs\nORDER BY start_time_ms DESC\nLIMIT 100",
    python: `${pythonStart()}\nfor run in ingest.search_runs(${search.join(", ")}):\n    print(run)`,
  };
}

/** @param {unknown} error */
const isFilterError = (error) => error instanceof Error && "code" in error && error.code === "bad_filter";
const focusHead = () => /** @type {HTMLElement | null} */ (document.querySelector(".table-head .head-button"))?.focus();
const focusTable = () => /** @type {HTMLElement | null} */ (document.querySelector(".table-row[tabindex='0']"))?.focus();

/** What there is to choose from. @param {number[] | undefined} experiments */
function useStart(experiments) {
  const [state, setState] = useState(/** @type {{keys: import("../runs/filter.js").Keys | null, experiment: {name: string} | null, error: unknown}} */ ({ keys: null, experiment: null, error: null }));
  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    const failed = (/** @type {unknown} */ error) => signal.aborted || setState((before) => ({ ...before, error }));
    post("/api/v1/keys", { experiments, limit: 2000 }, { signal }).then((keys) => setState((before) => ({ ...before, keys })), failed);
    if (experiments) {
      get(`/api/v1/experiments/${experiments[0]}`, { signal }).then((experiment) => {
        document.title = `${experiment.name} · ingest`;
        setState((before) => ({ ...before, experiment }));
      }, failed);
    }
    return () => stop.abort();
  }, [experiments]);
  return state;
}

/** Runs that have curves: those selected, or the first ones. Selected ones that the filter hides keep theirs. @param {import("../runs/fields.js").Run[]} runs @param {import("../runs/view.js").RunsView} view */
function useShown(runs, view) {
  const before = useRef(/** @type {import("../runs/fields.js").Run[]} */ ([]));
  return useMemo(() => {
    const byId = new Map([...before.current, ...runs].map((run) => [run.run_id, run]));
    const shown = view.sel.length ? view.sel.map((id) => byId.get(id) ?? { run_id: id, name: id.slice(0, 8) }) : runs.slice(0, view.group.length ? MOST_SHOWN : FIRST_SHOWN);
    const next = shown.slice(0, MOST_SHOWN);
    const isSame = next.length === before.current.length && next.every((run, i) => { const old = before.current[i]; return old.run_id === run.run_id && old.name === run.name && old.status === run.status; });
    if (!isSame) before.current = next;
    return before.current;
  }, [runs, view.sel, view.group]);
}

/** @param {import("../runs/fields.js").Run[]} runs @param {import("../runs/groups.js").RunGroup[] | null} groups @param {string[]} closed @returns {import("../runs/columns.js").Row[]} */
function rowsOf(runs, groups, closed) {
  if (!groups) return runs.map((run) => ({ run }));
  return groups.flatMap((group) => {
    const isOpen = !closed.includes(group.id);
    return [{ group, isOpen }, ...(isOpen ? group.runs.map((run) => ({ run })) : [])];
  });
}

/** @param {import("../runs/groups.js").RunGroup[]} groups @param {import("../runs/fields.js").Run[]} shown */
function groupsShown(groups, shown) {
  const ids = new Set(shown.map((run) => run.run_id));
  const some = groups.map((group) => ({ name: group.name, runs: group.runs.map((run) => run.run_id).filter((id) => ids.has(id)) })).filter((group) => group.runs.length);
  const colours = [...coloursOf(some.map((_, i) => String(i).padStart(3, "0"))).values()];
  return some.map((group, i) => ({ ...group, colour: colours[i] }));
}

/** What can be done with the selected runs. @param {{view: import("../runs/view.js").RunsView, change: import("../runs/view.js").Change, compare: (ids: string[]) => void, reload: () => void}} props */
function Selection({ view, change, compare, reload }) {
  const { sel, life } = view;
  const after = (/** @type {boolean} */ done) => void (done && (change({ sel: [] }, { replace: true }), reload()));
  return html`
    <span class="count">${sel.length} selected</span>
    ${sel.length > 1 ? html`<button class="quiet" onClick=${() => compare(sel)}>Compare</button>` : null}
    ${mayWrite() && life === "deleted" ? html`<button class="quiet" onClick=${async () => after(await restoreRuns(sel))}><${Icon} name="restore" />Restore</button>` : null}
    ${mayWrite() && life !== "deleted" ? html`<button class="icon-button small" title="Tag the selected runs" aria-label="Tag the selected runs" onClick=${async () => (await tagRuns(sel)) && reload()}><${Icon} name="tag" /></button>
      <button class="icon-button small" title="Delete the selected runs" aria-label="Delete the selected runs" onClick=${async () => after(await deleteRuns(sel, reload))}><${Icon} name="trash" /></button>` : null}
    <button class="icon-button small" title="Select none" aria-label="Select none" onClick=${() => change({ sel: [] })}><${Icon} name="close" /></button>`;
}

/** @param {any} props */
function RunTable({ rows, fields, view, change, colours, toggle, loadMore, reload, closed, setClosed }) {
  /** @param {import("../runs/columns.js").Row} row */
  const idOf = (row) => row.run?.run_id ?? `group ${row.group?.id}`;
  /** @param {import("../runs/columns.js").Row} row */
  const open = (row) => (row?.run ? navigate(`/runs/${row.run.run_id}`) : row?.group && setClosed(row.isOpen ? [...closed, row.group.id] : closed.filter((/** @type {string} */ id) => id !== row.group?.id)));
  const all = rows.filter((/** @type {import("../runs/columns.js").Row} */ row) => row.run).slice(0, MOST_SHOWN).map((/** @type {any} */ row) => row.run.run_id);
  const columns = useMemo(() => {
    const select = {
      id: " select", label: "Select", width: 34, isFixed: true,
      head: html`<input type="checkbox" aria-label="Select all that are loaded, up to 200" checked=${view.sel.length > 0} disabled=${!all.length} onChange=${() => change({ sel: view.sel.length ? [] : all })} />`,
      cell: (/** @type {import("../runs/columns.js").Row} */ row) => row.run ? html`<input type="checkbox" tabindex="-1" aria-label=${`Select ${row.run.name}`} checked=${view.sel.includes(row.run.run_id)} onChange=${() => toggle(row.run?.run_id)} />` : null,
    };
    const nameCell = (/** @type {import("../runs/columns.js").Row} */ row) => html`<${NameCell} row=${row} colour=${row.run && colours.get(row.run.run_id)} open=${open} view=${view} change=${change} reload=${reload} />`;
    return [select, ...fields.map((/** @type {string} */ field) => columnOf(field, view.width, nameCell))];
  }, [fields, view, colours, rows, closed]);
  return html`<${Table} label="Runs" columns=${columns} rows=${rows} idOf=${idOf} pinned=${1 + (Number(view.pin) || 0)} order=${view.order} onEnd=${loadMore} onOpen=${open}
    onOrder=${(/** @type {string} */ order) => change({ order })} onToggle=${(/** @type {import("../runs/columns.js").Row} */ row) => row.run && toggle(row.run.run_id)}
    onResize=${(/** @type {string} */ id, /** @type {number} */ width) => change({ width: { ...view.width, [id]: String(width) } }, { replace: true })}
    onMove=${(/** @type {string} */ id, /** @type {string} */ before) => { const rest = fields.filter((/** @type {string} */ one) => one !== id); rest.splice(rest.indexOf(before), 0, id); change({ col: rest }); }}
    classOf=${(/** @type {import("../runs/columns.js").Row} */ row) => (row.group ? "group" : view.sel.includes(row.run?.run_id) ? "selected" : "")} />`;
}

/** @param {any} props */
function NameCell({ row, colour, open, view, change, reload }) {
  if (row.group) return html`<button class="quiet group-name" aria-expanded=${row.isOpen} onClick=${() => open(row)}><${Icon} name=${row.isOpen ? "chevron" : "right"} size=${13} /><span class="truncate" title=${row.group.name}>${row.group.name}</span><span class="count">${row.group.runs.length}</span></button>`;
  const { run } = row;
  const name = run.name || run.run_id.slice(0, 8);
  /** @param {Promise<unknown>} done */
  const then = async (done) => (await done) && reload();
  const items = () => [
    { label: "Open", icon: "right", run: () => open(row) },
    { label: "Copy the id", icon: "copy", run: () => copyText(run.run_id, "Id copied") },
    { label: "Show the note", icon: "note", run: () => showNote(run.run_id, name) },
    { label: "Colour" },
    ...Object.entries(NAMED).map(([hex, called]) => ({ label: html`<i class="swatch" style=${{ background: `#${hex}` }}></i>${called}`, run: () => change({ colour: { ...view.colour, [run.run_id]: hex } }) })),
    ...(run.run_id in view.colour ? [{ label: "As it was", icon: "restore", run: () => { const { [run.run_id]: _, ...rest } = view.colour; change({ colour: rest }); } }] : []),
    ...(mayWrite() ? [
      { label: "Change" },
      ...(run.lifecycle === "deleted" ? [{ label: "Restore", icon: "restore", run: () => then(restoreRuns([run.run_id])) }] : [
        { label: "Rename", icon: "edit", run: () => then(renameRun(run)) },
        { label: "Edit the note", icon: "note", run: () => editNote(run.run_id) },
        { label: "Set a tag", icon: "tag", run: () => then(tagRuns([run.run_id])) },
        { label: "Delete", icon: "trash", danger: true, run: () => then(deleteRuns([run.run_id], reload)) },
      ]),
    ] : []),
  ];
  return html`<span class="dot" style=${{ background: colour ?? "transparent" }}></span><a class="truncate" href=${`/runs/${run.run_id}`} title=${name} tabindex="-1">${name}</a><span class="spacer"></span><${Menu} label="" icon="more" title=${`More about ${name}`} className="icon-button small" items=${items} />`;
}
