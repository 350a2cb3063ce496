/** What the editor can complete: keywords, relations, and columns of the relations that the statement names. Pure. */

/** @typedef {{name: string, kind: "view" | "table", comment: string | null, columns: {name: string, type: string, comment: string | null}[]}} Relation */
/** @typedef {{word: string, told: string}} Completion */

const KEYWORDS = (
  "SELECT FROM WHERE GROUP BY ORDER BY HAVING LIMIT OFFSET JOIN LEFT JOIN USING ON AS AND OR NOT IN IS NULL LIKE ILIKE BETWEEN CASE WHEN THEN ELSE END " +
  "WITH UNION ALL DISTINCT ASC DESC NULLS LAST FILTER OVER PARTITION BY EXISTS CAST count sum avg min max stddev coalesce date_trunc now row_number lag first_value percentile_cont"
).split(" ");
const MOST = 12;

/** The word before the cursor, and where it begins. @param {string} text @param {number} cursor */
export function wordAt(text, cursor) {
  const word = /[A-Za-z_][\w.]*$/.exec(text.slice(0, cursor))?.[0] ?? "";
  return { word, from: cursor - word.length };
}

/**
 * @param {string} text
 * @param {number} cursor
 * @param {Relation[]} relations
 * @returns {Completion[]} the likeliest first
 */
export function completions(text, cursor, relations) {
  const { word } = wordAt(text, cursor);
  if (!word) return [];
  const dot = word.lastIndexOf(".");
  const piece = word.slice(dot + 1).toLowerCase();
  const named = relations.filter((one) => new RegExp(`\\b${one.name}\\b`, "i").test(text));
  const owner = dot < 0 ? "" : word.slice(0, dot).toLowerCase();
  const about = owner && relations.some((one) => one.name === owner) ? relations.filter((one) => one.name === owner) : named;
  const found = [
    ...about.flatMap((one) => one.columns.map((column) => ({ word: column.name, told: `${one.name} · ${column.type}` }))),
    ...(dot < 0 ? relations.map((one) => ({ word: one.name, told: one.kind })) : []),
    ...(dot < 0 ? KEYWORDS.map((keyword) => ({ word: keyword, told: "" })) : []),
  ].filter((one) => one.word.toLowerCase().startsWith(piece) && one.word.toLowerCase() !== piece);
  return [...new Map(found.map((one) => [one.word, one])).values()].slice(0, MOST);
}

/** Line and column, both from 1, of the n-th character, from 1. @param {string} text @param {number} position */
export function lineOf(text, position) {
  const before = text.slice(0, position - 1).split("\n");
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
