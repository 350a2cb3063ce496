/** What the files tell in which clients note their environment: packages and their versions, and changes that were not committed. */
import { html } from "../lib.js";
import { get, request } from "../api.js";
import { useLoad } from "../load.js";
import { Differences } from "./differences.js";

const MOST_RUNS = 24; // each is two requests
const PACKAGES = "environment/packages.txt";
const DIFF = "environment/git.diff";

/** @typedef {{id: string, name: string, colour: string}} Run */

/**
 * Of the first runs, where they are many: it says so.
 * @param {{runs: Run[], all: boolean, empty: string}} props all: also what is the same
 */
export function CodeFiles({ runs, all, empty }) {
  const some = runs.slice(0, MOST_RUNS);
  const { data, error } = useLoad((signal) => Promise.all(some.map((run) => filesOf(run.id, signal))), [some.map((run) => run.id).join()]);
  const rows = data ? differing(data, all) : {};
  const told = error ? String(error) : !data ? "reading …" : some.length < runs.length ? `of the first ${MOST_RUNS} of ${runs.length} runs` : undefined;
  return html`<${Differences} title="Packages and changes" told=${told} rows=${rows} runs=${some} empty=${data ? empty : ""} />`;
}

/** Facts by name: a package's version, the size of what was not committed. @param {string} runId @param {AbortSignal} signal @returns {Promise<Map<string, string>>} */
async function filesOf(runId, signal) {
  const at = `/api/v1/runs/${runId}/artifacts`;
  const { files } = await get(at, { query: { path: "environment" }, signal });
  /** @type {Map<string, number>} */
  const sizes = new Map(files.map((/** @type {{path: string, size_bytes: number}} */ one) => [one.path, one.size_bytes]));
  const facts = sizes.has(PACKAGES) ? packagesIn(await (await request("GET", `${at}/${PACKAGES}`, undefined, { signal, accept: "*/*" })).text()) : new Map();
  if (sizes.has(DIFF)) facts.set("not committed", `${sizes.get(DIFF)?.toLocaleString("en-US")} bytes of changes`);
  return facts;
}

/** Lines such as `numpy==2.1.0`. @param {string} text @returns {Map<string, string>} */
function packagesIn(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line && !line.startsWith("#"));
  return new Map(lines.map((line) => { const [name, ...version] = line.split(/==| @ /); return [name, version.join("==")]; }));
}

/** @param {Map<string, string>[]} facts of each run @param {boolean} all @returns {Record<string, (string | null)[]>} */
function differing(facts, all) {
  const names = [...new Set(facts.flatMap((one) => [...one.keys()]))].sort((a, b) => a.localeCompare(b, "en"));
  const rows = names.map((name) => /** @type {const} */ ([name, facts.map((one) => one.get(name) ?? null)]));
  return Object.fromEntries(rows.filter(([, values]) => all || new Set(values).size > 1));
}
