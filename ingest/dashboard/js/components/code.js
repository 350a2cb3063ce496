/** Code to copy: in a box, or behind a menu "Copy as". */
import { html } from "../lib.js";
import { Icon } from "./icons.js";
import { Menu } from "./menu.js";
import { copyText } from "./toast.js";

/** @param {{code: string, label?: string}} props */
export function Code({ code, label }) {
  return html`
    <div class="code">
      <pre tabindex="0" aria-label=${label}>${code}</pre>
      <button class="icon-button small copy" aria-label=${`Copy ${label ?? "code"}`} title="Copy" onClick=${() => copyText(code)}><${Icon} name="copy" size=${14} /></button>
    </div>`;
}

/**
 * How to get what a view shows by SQL or Python: what runs the SQL, where the client has no function for it.
 * @param {{sql?: string, python?: string, extra?: import("./menu.js").MenuItem[]}} props
 */
export function CopyAs({ sql, python = sql && sqlPython(sql), extra = [] }) {
  const items = [
    ...(sql ? [{ label: "SQL", run: () => void copyText(sql, "SQL copied") }, { label: "Open in the SQL page", run: () => open(`/sql?sql=${encodeURIComponent(sql)}`, "_self") }] : []),
    ...(python ? [{ label: "Python", run: () => void copyText(python, "Python copied") }] : []),
    ...extra,
  ];
  return html`<${Menu} label="Copy as" icon="copy" items=${items} align="right" className="quiet" />`;
}

/** A text as a SQL literal. @param {string} value */
export const sqlText = (value) => `'${value.replaceAll("'", "''")}'`;

/** The lines of Python that every example begins with. */
export const pythonStart = () => `import ingest\n\ningest.set_tracking_uri(${JSON.stringify(location.origin)})\n`;

/** Python that asks the service a statement, with nothing but the standard library. @param {string} statement */
export const sqlPython = (statement) => [
  "import json, urllib.request",
  "",
  `sql = """${statement.replaceAll("\\", "\\\\").replaceAll('"""', '\\"\\"\\"')}"""`,
  `request = urllib.request.Request(${JSON.stringify(`${location.origin}/api/v1/sql`)}, json.dumps({"sql": sql}).encode())`,
  '# where tokens are needed: request.add_header("Authorization", "Bearer ingest_…")',
  "answer = json.load(urllib.request.urlopen(request))",
  'rows = [dict(zip([c["name"] for c in answer["columns"]], row)) for row in answer["rows"]]',
  "for row in rows:",
  "    print(row)",
].join("\n");
