/**
 * One file, as what it is. HTML is shown in a frame where its styles hold and no script runs; SVG as a picture, where none runs either. What is too
 * large to look at is offered to be saved.
 */
import { html, useEffect, useMemo, useState } from "../lib.js";
import { request } from "../api.js";
import { Grid } from "../components/grid.js";
import { Markdown } from "../components/markdown.js";
import { ErrorState, LoadingState } from "../components/states.js";
import { formatBytes } from "../format.js";
import { useLoad } from "../load.js";
import { csvRows, fileAddress, frameAddress, kindOf, nameOf } from "./files.js";

const MOST_TEXT = 2 * 1024 * 1024;
const MOST_PAGE = 16 * 1024 * 1024;
const MOST_PDF = 64 * 1024 * 1024;
const MOST_ROWS = 20_000;

/** @param {{runId: string, path: string, size_bytes: number}} props */
export function FileView({ runId, path, size_bytes }) {
  const address = fileAddress(runId, path);
  const kind = kindOf(path);
  if (kind === "image") return html`<figure class="picture"><img src=${address} alt=${nameOf(path)} /></figure>`;
  if (kind === "audio") return html`<div class="card-body"><audio controls src=${address}></audio></div>`;
  if (kind === "video") return html`<div class="card-body"><video controls src=${address}></video></div>`;
  if (kind === "pdf") return size_bytes > MOST_PDF ? html`<${TooLarge} size_bytes=${size_bytes} />` : html`<${Pdf} address=${address} name=${nameOf(path)} />`;
  if (kind === "html") return size_bytes > MOST_PAGE ? html`<${TooLarge} size_bytes=${size_bytes} />` : html`<${Page} address=${frameAddress(runId, path)} name=${nameOf(path)} />`;
  if (kind === "other") return html`<p class="muted pad">Files of this kind are not shown here; ${formatBytes(size_bytes)} to download.</p>`;
  return html`<${TextFile} address=${address} path=${path} kind=${kind} size_bytes=${size_bytes} />`;
}

/** @param {{size_bytes: number}} props */
const TooLarge = ({ size_bytes }) => html`<p class="muted pad">${formatBytes(size_bytes)} are too much to show here. Download the file.</p>`;

/** The beginning of a text, and how it is shown. @param {{address: string, path: string, kind: import("./files.js").Kind, size_bytes: number}} props */
function TextFile({ address, path, kind, size_bytes }) {
  const isCut = size_bytes > MOST_TEXT;
  const { data, error, reload } = useLoad(
    async (signal) => (await request("GET", address, undefined, { signal, accept: "*/*", headers: isCut ? { Range: `bytes=0-${MOST_TEXT - 1}` } : {} })).text(),
    [address],
  );
  if (error) return html`<${ErrorState} error=${error} retry=${reload} />`;
  if (data === undefined) return html`<${LoadingState} what="Reading the file" />`;
  return html`
    ${isCut ? html`<p class="muted pad">The first ${formatBytes(MOST_TEXT)} of ${formatBytes(size_bytes)}.</p>` : null}
    <${Shown} text=${data} kind=${isCut && kind !== "csv" ? "text" : kind} path=${path} />`;
}

/** @param {{text: string, kind: import("./files.js").Kind, path: string}} props */
function Shown({ text, kind, path }) {
  if (kind === "markdown") return html`<div class="card-body"><${Markdown} text=${text} /></div>`;
  if (kind === "csv") return html`<${Csv} text=${text} separator=${path.endsWith(".tsv") ? "\t" : ","} />`;
  if (kind === "json") return html`<pre class="file-text" tabindex="0">${pretty(text)}</pre>`;
  return html`<pre class="file-text" tabindex="0">${text}</pre>`;
}

/** @param {string} text */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // cut off, or with NaN
  }
}

/** @param {{text: string, separator: string}} props */
function Csv({ text, separator }) {
  const { columns, rows } = useMemo(() => {
    const [head = [], ...body] = csvRows(text, separator, MOST_ROWS + 1);
    const isNumber = (/** @type {number} */ i) => body.slice(0, 50).every((row) => row[i] === undefined || row[i] === "" || Number.isFinite(Number(row[i])));
    return { columns: head.map((name, i) => ({ name: name || `column ${i + 1}`, isNumber: isNumber(i) })), rows: body };
  }, [text]);
  return html`<${Grid} label="Table" columns=${columns} rows=${rows} height=${560} />`;
}

/** @param {{address: string, name: string}} props */
const Page = ({ address, name }) => html`
  <p class="muted pad">Shown without scripts: what a run logged must not act in your name. Download it to see it in full.</p>
  <iframe class="sandbox tall" sandbox="" src=${address} title=${name}></iframe>`;

/** The browser's own viewer, on a copy in memory: the service sends no file that may be framed. @param {{address: string, name: string}} props */
function Pdf({ address, name }) {
  const [url, setUrl] = useState("");
  const [error, setError] = useState(/** @type {unknown} */ (null));
  useEffect(() => {
    const stop = new AbortController();
    let made = "";
    request("GET", address, undefined, { signal: stop.signal, accept: "*/*" })
      .then((answer) => answer.arrayBuffer())
      .then((bytes) => setUrl((made = URL.createObjectURL(new Blob([bytes], { type: "application/pdf" })))))
      .catch((problem) => stop.signal.aborted || setError(problem));
    return () => (stop.abort(), URL.revokeObjectURL(made));
  }, [address]);
  if (error) return html`<${ErrorState} error=${error} />`;
  return url ? html`<iframe class="sandbox tall" src=${url} title=${name}></iframe>` : html`<${LoadingState} what="Reading the file" />`;
}
