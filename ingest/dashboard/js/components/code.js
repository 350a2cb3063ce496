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
 * How to get what a view shows by SQL or Python.
 * @param {{sql?: string, python?: string, extra?: import("./menu.js").MenuItem[]}} props
 */
export function CopyAs({ sql, python, extra = [] }) {
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
