/** Markdown that somebody wrote: rendered by marked, cleaned by DOMPurify. No pictures or links that load from elsewhere by themselves: the page's policy forbids them. */
import DOMPurify from "dompurify";
import { marked } from "marked";
import { html, useMemo } from "../lib.js";

// HTML in a note is shown as it was typed; what Markdown makes of the rest is cleaned all the same (a link may say javascript:).
const escaped = (/** @type {string} */ text) => text.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);
marked.use({ renderer: { html: ({ text }) => escaped(text) } });

/** @param {string} text */
export const cleanHtml = (text) => DOMPurify.sanitize(/** @type {string} */ (marked.parse(text, { async: false, gfm: true })), { FORBID_TAGS: ["style", "form", "input"], FORBID_ATTR: ["style"] });

/** Its first line as plain text, for where there is room for no more. @param {string} text */
export function firstLine(text) {
  const box = document.createElement("template");
  box.innerHTML = cleanHtml(text);
  return (box.content.textContent ?? "").trim().split("\n", 1)[0];
}

/** @param {{text: string}} props */
export function Markdown({ text }) {
  const clean = useMemo(() => cleanHtml(text), [text]);
  return html`<div class="markdown" dangerouslySetInnerHTML=${{ __html: clean }}></div>`;
}
