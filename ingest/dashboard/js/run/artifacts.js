/** The files of a run: a tree that reads a directory when it is opened, and beside it the file that is chosen. */
import { html, useEffect, useState } from "../lib.js";
import { get, mayWrite, remove } from "../api.js";
import { CopyAs, pythonStart } from "../components/code.js";
import { confirmed } from "../components/dialog.js";
import { Icon } from "../components/icons.js";
import { EmptyState, ErrorState, LoadingState } from "../components/states.js";
import { toast, toastError } from "../components/toast.js";
import { formatAgo, formatBytes } from "../format.js";
import { useLoad } from "../load.js";
import { text, useView } from "../url.js";
import { fileAddress, imageSeries, kindOf, nameOf, zipAddress } from "./files.js";
import { ImageSeries } from "./images.js";
import { FileView } from "./viewer.js";

const VIEW = { file: text() };
const PAGE = 1000;

/** @param {string} runId @param {string} path @param {AbortSignal} [signal] @param {string} [page_token] */
const listing = (runId, path, signal, page_token) => get(`/api/v1/runs/${runId}/artifacts`, { query: { path, limit: PAGE, page_token }, signal });

/** @param {{run: any, isOver: boolean}} props */
export function Artifacts({ run, isOver }) {
  const [{ file }, change] = useView(VIEW);
  const root = useLoad((signal) => listing(run.run_id, "", signal), [run.run_id], { everyMs: isOver ? undefined : 10_000 });
  if (root.error && !root.data) return html`<${ErrorState} error=${root.error} retry=${root.reload} />`;
  if (!root.data) return html`<${LoadingState} what="Looking for files" />`;
  if (!root.data.files.length) {
    return html`<${EmptyState} title="No artifacts" icon="folder"><p class="muted"><code>ingest.log_artifact("file")</code>, <code>log_image</code> and <code>log_figure</code> put files here.</p></${EmptyState}>`;
  }
  const python = `${pythonStart()}\nlocal = ingest.download_artifacts(run_id=${JSON.stringify(run.run_id)}, artifact_path=${JSON.stringify(file)})\nprint(local)`;
  return html`
    <div class="artifacts">
      <section class="card tree-card" aria-label="Files">
        <header><h2>Files</h2><span class="spacer"></span><a class="button" href=${zipAddress(run.run_id, "")} download><${Icon} name="download" />All as zip</a></header>
        <ul role="tree" aria-label="Files" class="tree" onKeyDown=${onTreeKey}>
          <${Entries} run=${run} files=${root.data.files} next=${root.data.next_page_token} path="" chosen=${file} choose=${(/** @type {string} */ path) => change({ file: path })} level=${1} />
        </ul>
      </section>
      <section class="card file-card" aria-label="File">
        ${file ? html`<${Chosen} key=${file} run=${run} path=${file} python=${python} onGone=${() => (change({ file: "" }), root.reload())} />` : html`<${EmptyState} title="Choose a file" icon="file"><p class="muted">Pictures, text, JSON, CSV, Markdown and PDF are shown here.</p></${EmptyState}>`}
      </section>
    </div>`;
}

/** As people count, step 50 before step 100, once all entries are there. @param {import("./files.js").File[]} files @param {boolean} isWhole */
const inOrder = (files, isWhole) => (isWhole ? files.sort((a, b) => a.path.localeCompare(b.path, "en", { numeric: true })) : files);

/** Entries of one directory, with those of open ones below. @param {{run: any, files: import("./files.js").File[], next: string | null, path: string, chosen: string, choose: (path: string) => void, level: number}} props */
function Entries({ run, files, next, path, chosen, choose, level }) {
  const [more, setMore] = useState(/** @type {import("./files.js").File[]} */ ([]));
  const [token, setToken] = useState(next);
  const load = () => listing(run.run_id, path, undefined, token ?? undefined).then((answer) => (setMore([...more, ...answer.files]), setToken(answer.next_page_token)), toastError);
  return html`
    ${inOrder([...files, ...more], token === null).map((one) =>
      one.is_dir
        ? html`<${Folder} key=${one.path} run=${run} file=${one} chosen=${chosen} choose=${choose} level=${level} />`
        : html`<li role="none" key=${one.path}><button role="treeitem" class="quiet" aria-level=${level} aria-selected=${chosen === one.path} style=${`padding-left: ${level * 14}px`} onClick=${() => choose(one.path)}><${Icon} name=${kindOf(one.path) === "image" ? "eye" : "file"} size=${14} /><span class="truncate">${nameOf(one.path)}</span><small>${formatBytes(one.size_bytes ?? 0)}</small></button></li>`,
    )}
    ${token ? html`<li role="none"><button class="link" onClick=${load}>More …</button></li>` : null}`;
}

/** @param {{run: any, file: import("./files.js").File, chosen: string, choose: (path: string) => void, level: number}} props */
function Folder({ run, file, chosen, choose, level }) {
  const [isOpen, setOpen] = useState(chosen === file.path || chosen.startsWith(`${file.path}/`));
  const inside = useLoad((signal) => (isOpen ? listing(run.run_id, file.path, signal) : Promise.resolve(null)), [run.run_id, file.path, isOpen]);
  return html`
    <li role="none">
      <button role="treeitem" class="quiet" aria-level=${level} aria-expanded=${isOpen} aria-selected=${chosen === file.path} style=${`padding-left: ${level * 14}px`} onClick=${() => (setOpen(!isOpen), isOpen || choose(file.path))}><${Icon} name=${isOpen ? "chevron" : "right"} size=${12} /><${Icon} name="folder" size=${14} /><span class="truncate">${nameOf(file.path)}</span></button>
      ${isOpen && inside.data ? html`<ul role="group"><${Entries} run=${run} files=${inside.data.files} next=${inside.data.next_page_token} path=${file.path} chosen=${chosen} choose=${choose} level=${level + 1} /></ul>` : null}
    </li>`;
}

/** @param {{run: any, path: string, python: string, onGone: () => void}} props */
function Chosen({ run, path, python, onGone }) {
  const [shown, setShown] = useState(path);
  useEffect(() => setShown(path), [path]);
  const folder = path.slice(0, Math.max(0, path.lastIndexOf("/")));
  // What stands beside it tells whether it is one picture of a series; asked as a directory, a file has nothing in it.
  const beside = useLoad((signal) => listing(run.run_id, folder, signal), [run.run_id, folder]);
  const inside = useLoad((signal) => listing(run.run_id, path, signal).catch(() => ({ files: [] })), [run.run_id, path]);
  if (beside.error) return html`<${ErrorState} error=${beside.error} retry=${beside.reload} />`;
  if (!beside.data || !inside.data) return html`<${LoadingState} />`;
  const entry = beside.data.files.find((/** @type {import("./files.js").File} */ one) => one.path === path);
  const isFolder = entry?.is_dir ?? inside.data.files.length > 0;
  const series = imageSeries(isFolder ? inside.data.files : beside.data.files);
  const own = isFolder ? [...series.values()] : [...series.values()].filter((pictures) => pictures.some((one) => one.path === path));
  const forget = async () => {
    if (!(await confirmed({ title: "Delete for good?", text: `${path}${isFolder ? " and all that is in it" : ""} can't be restored.`, action: "Delete", danger: true }))) return;
    await remove(fileAddress(run.run_id, path)).then(() => (toast(`${nameOf(path)} deleted`), onGone()), toastError);
  };
  return html`
    <header class="file-head">
      <h2 class="truncate">${isFolder ? path : nameOf(shown)}</h2>
      ${entry && !isFolder ? html`<span class="muted">${formatBytes(entry.size_bytes ?? 0)} · ${formatAgo(entry.modified_ms)}</span>` : null}
      <span class="spacer"></span>
      <${CopyAs} python=${python} />
      <a class="button" href=${isFolder ? zipAddress(run.run_id, path) : fileAddress(run.run_id, shown)} download=${isFolder ? "" : nameOf(shown)}><${Icon} name="download" />${isFolder ? "As zip" : "Download"}</a>
      ${mayWrite() && run.lifecycle === "active" ? html`<button class="icon-button" title="Delete" aria-label="Delete" onClick=${forget}><${Icon} name="trash" /></button>` : null}
    </header>
    ${own.length ? own.map((pictures) => html`<${ImageSeries} runId=${run.run_id} pictures=${pictures} at=${path} onShow=${setShown} />`) : null}
    ${isFolder && !own.length ? html`<${FolderTable} files=${inside.data.files} />` : null}
    ${!isFolder && !own.length ? html`<${FileView} runId=${run.run_id} path=${path} size_bytes=${entry?.size_bytes ?? 0} />` : null}`;
}

/** @param {{files: import("./files.js").File[]}} props */
const FolderTable = ({ files }) => html`
  <table class="plain"><thead><tr><th>Name</th><th class="number">Size</th><th>Changed</th></tr></thead>
    <tbody>${files.map((one) => html`<tr><td><a href=${`?tab=artifacts&file=${encodeURIComponent(one.path)}`}>${nameOf(one.path)}${one.is_dir ? "/" : ""}</a></td><td class="number">${one.is_dir ? "" : formatBytes(one.size_bytes ?? 0)}</td><td>${one.is_dir ? "" : formatAgo(one.modified_ms)}</td></tr>`)}</tbody></table>`;

/** Arrow keys, as trees have them. @param {KeyboardEvent} event */
function onTreeKey(event) {
  const items = /** @type {HTMLElement[]} */ ([.../** @type {HTMLElement} */ (event.currentTarget).querySelectorAll("[role=treeitem]")]);
  const item = /** @type {HTMLElement} */ (event.target);
  const at = items.indexOf(item);
  if (at < 0) return;
  const isOpen = item.getAttribute("aria-expanded");
  if (event.key === "ArrowDown") items[at + 1]?.focus();
  else if (event.key === "ArrowUp") items[at - 1]?.focus();
  else if (event.key === "ArrowRight") isOpen === "false" ? item.click() : items[at + 1]?.focus();
  else if (event.key === "ArrowLeft") isOpen === "true" ? item.click() : items.slice(0, at).findLast((one) => Number(one.ariaLevel) < Number(item.ariaLevel))?.focus();
  else return;
  event.preventDefault();
}
