/** Fields of runs, by their names in the grammar of searches: `params.lr`, `min(metrics.loss)`, `start_time`. Pure. */

/** @typedef {{run_id: string, name?: string, status?: string, lifecycle?: string, experiment?: string, user_name?: string, start_time_ms?: number, end_time_ms?: number | null, params?: Record<string, string>, tags?: Record<string, string>, metrics?: Record<string, any>, summaries?: Record<string, Record<string, any>>}} Run */
/** @typedef {{kind: "attribute" | "param" | "tag" | "metric", key: string, summary: string}} Parsed */

export const SUMMARIES = ["last", "min", "max", "mean", "first", "count", "nonfinite", "argmin", "argmax", "last_step"];
export const ATTRIBUTES = ["name", "status", "start_time", "duration", "end_time", "user", "experiment", "lifecycle", "run_id"];
const LABELS = { name: "Name", status: "Status", start_time: "Started", duration: "Duration", end_time: "Ended", user: "User", experiment: "Experiment", lifecycle: "State", run_id: "Id" };
const MEMBERS = { name: "name", status: "status", start_time: "start_time_ms", end_time: "end_time_ms", user: "user_name", experiment: "experiment", lifecycle: "lifecycle", run_id: "run_id" };

/** The key as the grammar takes it. @param {string} key */
export const quoted = (key) => (/^[A-Za-z0-9_./:-]+$/.test(key) ? key : `\`${key.replaceAll("`", "``")}\``);

/** @param {"param" | "tag" | "metric"} kind @param {string} key @param {string} [summary] */
export const fieldOf = (kind, key, summary = "last") => (summary === "last" ? `${kind}s.${quoted(key)}` : `${summary}(${kind}s.${quoted(key)})`);

/** @param {string} field @returns {Parsed} */
export function parsed(field) {
  const call = /^(\w+)\((.*)\)$/s.exec(field);
  const inner = call ? call[2] : field;
  const dotted = /^(param|tag|metric)s\.(.*)$/s.exec(inner);
  if (!dotted) return { kind: "attribute", key: field, summary: "last" };
  const key = dotted[2].startsWith("`") ? dotted[2].slice(1, -1).replaceAll("``", "`") : dotted[2];
  return { kind: /** @type {Parsed["kind"]} */ (dotted[1]), key, summary: call ? call[1] : "last" };
}

/** @param {string} field */
export function labelOf(field) {
  const { kind, key, summary } = parsed(field);
  if (kind === "attribute") return LABELS[/** @type {keyof typeof LABELS} */ (key)] ?? key;
  return summary === "last" ? key : `${summary} ${key}`;
}

/** @param {Run} run @param {string} field @returns {string | number | null | undefined} */
export function valueOf(run, field) {
  const { kind, key, summary } = parsed(field);
  if (kind === "param") return run.params?.[key];
  if (kind === "tag") return run.tags?.[key];
  if (kind === "metric") return summary === "last" ? run.metrics?.[key] : run.summaries?.[summary]?.[key];
  if (key === "duration") return run.end_time_ms == null ? null : run.end_time_ms - (run.start_time_ms ?? 0);
  return /** @type {any} */ (run)[MEMBERS[/** @type {keyof typeof MEMBERS} */ (key)]];
}

/** @param {string} field */
export const isNumeric = (field) => parsed(field).kind === "metric" || field === "duration";

/** Fields to begin with: what a run is, and the first few of its params and metrics. @param {{params: {key: string}[], metrics: {key: string}[]}} keys @param {boolean} hasExperiment */
export function firstFields(keys, hasExperiment) {
  const metrics = keys.metrics.filter(({ key }) => !key.startsWith("system/")).slice(0, 3);
  return ["name", "status", ...(hasExperiment ? [] : ["experiment"]), "start_time", "duration", ...metrics.map(({ key }) => fieldOf("metric", key)), ...keys.params.slice(0, 4).map(({ key }) => fieldOf("param", key))];
}
