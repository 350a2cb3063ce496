/** What people change by hand: names, notes, tags, deletion and its undoing. Each says what it did, or why it could not. */
import { html } from "../lib.js";
import { get, patch } from "../api.js";
import { Dialog, ask, confirmed, prompted } from "../components/dialog.js";
import { Markdown } from "../components/markdown.js";
import { toast, toastError } from "../components/toast.js";

export const NOTE = "mlflow.note.content";

/** @param {string} runId @param {object} changes @param {string} done */
async function change(runId, changes, done) {
  try {
    await patch(`/api/v1/runs/${runId}`, changes);
    toast(done);
    return true;
  } catch (error) {
    toastError(error);
    return false;
  }
}

/** @param {{run_id: string, name?: string}} run */
export async function renameRun(run) {
  const name = await prompted({ title: "Rename the run", label: "Name", value: run.name });
  return name !== null && name !== run.name && change(run.run_id, { name }, `Renamed to ${name}`);
}

/** @param {string} runId */
export async function editNote(runId) {
  const { tags } = await get(`/api/v1/runs/${runId}`);
  const note = await prompted({ title: "Note", label: "Markdown", value: tags[NOTE] ?? "", rows: 14 });
  return note !== null && change(runId, { tags: { [NOTE]: note || null } }, "Note saved");
}

/** @param {string} runId @param {string} name */
export async function showNote(runId, name) {
  const { tags } = await get(`/api/v1/runs/${runId}`);
  return ask((answer) => html`<${Dialog} title=${`Note of ${name}`} wide onClose=${() => answer(null)}><${Markdown} text=${tags[NOTE] ?? "*no note*"} /></${Dialog}>`);
}

/** @param {string[]} runIds */
export async function tagRuns(runIds) {
  const given = await prompted({ title: runIds.length === 1 ? "Set a tag" : `Set a tag of ${runIds.length} runs`, label: "key=value; key= removes it", action: "Set" });
  if (!given) return false;
  const [key, ...rest] = given.split("=");
  if (!key.trim() || !rest.length) return toast("Write it as key=value.", { kind: "error" }), false;
  const value = rest.join("=").trim();
  return all(runIds, { tags: { [key.trim()]: value || null } }, value ? `Tagged ${counted(runIds)}` : `Removed the tag of ${counted(runIds)}`);
}

/** @param {string[]} runIds @param {() => void} changed */
export async function deleteRuns(runIds, changed) {
  if (runIds.length > 1 && !(await confirmed({ title: `Delete ${runIds.length} runs?`, text: "They can be restored: choose “Deleted” above the table.", action: "Delete", danger: true }))) return false;
  const done = await all(runIds, { lifecycle: "deleted" }, null);
  if (done) toast(`Deleted ${counted(runIds)}`, { action: { label: "Undo", run: () => void restoreRuns(runIds).then(changed) } });
  return done;
}

/** @param {string[]} runIds */
export const restoreRuns = (runIds) => all(runIds, { lifecycle: "active" }, `Restored ${counted(runIds)}`);

/** @param {string[]} runIds */
const counted = (runIds) => (runIds.length === 1 ? "the run" : `${runIds.length} runs`);

/** @param {string[]} runIds @param {object} changes @param {string | null} done */
async function all(runIds, changes, done) {
  const outcomes = await Promise.allSettled(runIds.map((id) => patch(`/api/v1/runs/${id}`, changes)));
  const failed = outcomes.filter((one) => one.status === "rejected");
  if (failed.length) toast(`${failed.length} of ${runIds.length} failed: ${failed[0].reason.message}`, { kind: "error" });
  else if (done) toast(done);
  return failed.length < runIds.length;
}
