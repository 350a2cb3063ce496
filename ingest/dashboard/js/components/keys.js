/**
 * The keyboard: components say which keys they take and what these do; `?` shows all that work at the moment.
 *
 *     useKeys("Runs", [{ keys: "/", does: "Search", run: () => input.focus() }, { keys: "g e", does: "…", run }]);
 *
 * A key pressed while somebody types into a field belongs to the field.
 */
import { html, useEffect, useState } from "../lib.js";
import { Dialog } from "./dialog.js";

/** @typedef {{keys: string, does: string, run: () => void}} Binding */

/** @type {Map<object, {group: string, bindings: Binding[]}>} */
const groups = new Map();
const PREFIX_MS = 1000;
let prefix = "";
let prefixAt = 0;

/** @param {string} group @param {Binding[]} bindings */
export function useKeys(group, bindings) {
  useEffect(() => {
    const owner = {};
    groups.set(owner, { group, bindings });
    return () => void groups.delete(owner);
  });
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || document.querySelector("dialog[open]")) return;
  const sequence = event.timeStamp - prefixAt < PREFIX_MS ? `${prefix} ${event.key}` : event.key;
  const all = [...groups.values()].flatMap((one) => one.bindings).reverse(); // the innermost component goes first
  const binding = all.find((one) => one.keys === sequence) ?? all.find((one) => one.keys === event.key);
  prefix = event.key;
  prefixAt = all.some((one) => one.keys.startsWith(`${event.key} `)) ? event.timeStamp : 0;
  if (!binding) return;
  event.preventDefault();
  binding.run();
}

export function Keys() {
  const [isOpen, setOpen] = useState(false);
  useKeys("Everywhere", [{ keys: "?", does: "Show the keys", run: () => setOpen(true) }]);
  useEffect(() => {
    const show = () => setOpen(true);
    addEventListener("keydown", onKey);
    addEventListener("show-keys", show);
    return () => (removeEventListener("keydown", onKey), removeEventListener("show-keys", show));
  }, []);
  if (!isOpen) return null;
  const names = [...new Set([...groups.values()].map((one) => one.group))];
  return html`
    <${Dialog} title="Keys" onClose=${() => setOpen(false)}>
      ${names.map(
        (name) => html`
          <h3>${name}</h3>
          <dl class="keys">
            ${[...groups.values()].filter((one) => one.group === name).flatMap((one) => one.bindings)
              .map(({ keys, does }) => html`<div><dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd>`)}</dt><dd>${does}</dd></div>`)}
          </dl>`,
      )}
    </${Dialog}>`;
}
