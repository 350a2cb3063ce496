/** Runs in groups of equal values. Pure. */
import { isNumeric, labelOf, valueOf } from "./fields.js";

/** @typedef {{id: string, name: string, runs: import("./fields.js").Run[]}} RunGroup */

/** @param {import("./fields.js").Run[]} runs @param {string[]} fields @returns {RunGroup[]} in the order of their first runs */
export function grouped(runs, fields) {
  /** @type {Map<string, RunGroup>} */
  const groups = new Map();
  for (const run of runs) {
    const values = fields.map((field) => valueOf(run, field));
    const id = JSON.stringify(values);
    const group = groups.get(id);
    if (group) group.runs.push(run);
    else groups.set(id, { id, name: fields.map((field, i) => `${labelOf(field)} ${values[i] ?? "–"}`).join(" · "), runs: [run] });
  }
  return [...groups.values()];
}

/** The mean of a group's numbers, for its row. @param {RunGroup} group @param {string} field */
export function meanOf(group, field) {
  if (!isNumeric(field)) return null;
  const values = group.runs.map((run) => valueOf(run, field)).filter((one) => typeof one === "number");
  return values.length ? values.reduce((sum, one) => sum + one, 0) / values.length : null;
}
