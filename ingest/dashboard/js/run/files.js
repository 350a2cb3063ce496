/** What artifacts are by their names, and where they are. Pure. */

/** @typedef {{path: string, is_dir: boolean, size_bytes?: number, modified_ms?: number}} File */
/** @typedef {"image" | "markdown" | "csv" | "json" | "html" | "pdf" | "audio" | "video" | "text" | "other"} Kind */

/** @type {Record<string, Kind>} */
const KINDS = {};
for (const [kind, endings] of /** @type {[Kind, string][]} */ ([
  ["image", "png jpg jpeg gif webp avif bmp svg ico"], ["markdown", "md markdown"], ["csv", "csv tsv"], ["json", "json ipynb geojson"], ["html", "html htm"],
  ["pdf", "pdf"], ["audio", "wav mp3 ogg flac"], ["video", "mp4 webm"],
  ["text", "txt log err cfg conf ini toml yaml yml xml jsonl js py sh sql diff patch rst properties env"],
])) for (const ending of endings.split(" ")) KINDS[ending] = kind;

/** @param {string} path @returns {Kind} */
export function kindOf(path) {
  const name = nameOf(path);
  if (/^(MLmodel|MLproject|Dockerfile|Makefile|LICENSE)$/i.test(name)) return "text";
  return KINDS[name.includes(".") ? (name.split(".").at(-1) ?? "").toLowerCase() : ""] ?? "other";
}

/** @param {string} path */
export const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);

/** @param {string} runId @param {string} path */
export const fileAddress = (runId, path) => `/api/v1/runs/${runId}/artifacts/${path.split("/").map(encodeURIComponent).join("/")}`;

/** An HTML file as the service lets it be framed. @param {string} runId @param {string} path */
export const frameAddress = (runId, path) => fileAddress(runId, path).replace("/artifacts/", "/frames/");

/** @param {string} runId @param {string} path */
export const zipAddress = (runId, path) => `/api/v1/runs/${runId}/artifacts.zip?path=${encodeURIComponent(path)}`;

/**
 * Pictures that are steps of one series: `images/<key>/<step>….png` of ours, `images/<key>%step%<step>%timestamp%….png` of MLflow's.
 * @param {string} path
 * @returns {{series: string, step: number, time: number} | null}
 */
export function stepOf(path) {
  if (kindOf(path) !== "image") return null;
  const mlflow = /^(.*?)[%+]step[%+](-?\d+)[%+]timestamp[%+](\d+)[%+][^/]*$/.exec(path);
  if (mlflow) return /[%+]compressed\.\w+$/.test(path) || /\.webp$/.test(path) ? null : { series: mlflow[1], step: Number(mlflow[2]), time: Number(mlflow[3]) };
  const own = /^(images\/.+)\/(-?\d+)[^/]*\.\w+$/.exec(path);
  return own ? { series: own[1], step: Number(own[2]), time: 0 } : null;
}

/** @param {File[]} files @returns {Map<string, {path: string, step: number}[]>} by series, in the order of their steps */
export function imageSeries(files) {
  /** @type {Map<string, {path: string, step: number, time: number}[]>} */
  const found = new Map();
  for (const { path, is_dir } of files) {
    const placed = is_dir ? null : stepOf(path);
    if (placed) found.set(placed.series, [...(found.get(placed.series) ?? []), { path, ...placed }]);
  }
  for (const pictures of found.values()) pictures.sort((a, b) => a.step - b.step || a.time - b.time);
  return found;
}

/** Rows of a CSV text; quotes may hold line breaks. @param {string} text @param {string} separator @param {number} most */
export function csvRows(text, separator, most) {
  /** @type {string[][]} */
  const rows = [];
  let row = [];
  let field = "";
  let isQuoted = false;
  for (let i = 0; i < text.length && rows.length < most; i++) {
    const letter = text[i];
    if (isQuoted) {
      if (letter !== '"') field += letter;
      else if (text[i + 1] === '"') (field += '"'), i++;
      else isQuoted = false;
    } else if (letter === '"') isQuoted = true;
    else if (letter === separator) row.push(field), (field = "");
    else if (letter === "\n") row.push(field.replace(/\r$/, "")), rows.push(row), (row = []), (field = "");
    else field += letter;
  }
  if ((field || row.length) && rows.length < most) rows.push([...row, field]);
  return rows;
}
