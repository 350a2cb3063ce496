/** The filter above the table: the grammar of docs/search.md, completed while typing, with an error shown where it is. */
import { html, useLayoutEffect, useRef, useState } from "../lib.js";
import { ApiError } from "../api.js";
import { Icon } from "../components/icons.js";
import { ATTRIBUTES, SUMMARIES, fieldOf } from "./fields.js";

const SETTLED_MS = 90; // after the last key; of a shown filter's 300 ms, and fast writers need less between two letters
const MOST = 12;
const OPERATORS = ["=", "!=", "<", "<=", ">", ">=", "LIKE '%'", "ILIKE '%'", "~ ''", "IN ('')", "IS NULL", "IS NOT NULL"];
const STATUSES = ["'RUNNING'", "'FINISHED'", "'FAILED'", "'KILLED'", "'LOST'"];

/** @typedef {{params: {key: string}[], metrics: {key: string}[], tags: {key: string}[]}} Keys */

/**
 * What may stand where the cursor is.
 * @param {string} before the text up to the cursor
 * @param {Keys} keys
 * @returns {{from: number, options: string[]}} from: where the word begins that an option replaces
 */
export function completions(before, keys) {
  if ((before.match(/'/g) ?? []).length % 2) return { from: before.length, options: [] };
  const word = /[^\s()=<>!,']*$/.exec(before)?.[0] ?? "";
  const from = before.length - word.length;
  const lead = before.slice(0, from).trimEnd();
  if (/status\s*(=|!=)$/i.test(lead)) return { from, options: STATUSES.filter((one) => one.toLowerCase().includes(word.toLowerCase())) };
  if (/(=|<|>|~|like|in)$/i.test(lead)) return { from, options: [] };
  const isField = lead === "" || /(\band|\bor|\bnot|\()$/i.test(lead);
  if (!isField) {
    const isOperator = /[\w`"'.)/:-]$/.test(lead) && !/('|"|\d|\bnull|\bnan|\)\s*)$/i.test(lead);
    const offered = isOperator ? OPERATORS : ["AND", "OR"];
    return { from, options: offered.filter((one) => one.toLowerCase().startsWith(word.toLowerCase()) && one !== word) };
  }
  const fields = [
    ...keys.params.map(({ key }) => fieldOf("param", key)),
    ...keys.metrics.map(({ key }) => fieldOf("metric", key)),
    ...keys.tags.map(({ key }) => fieldOf("tag", key)),
    ...ATTRIBUTES,
    ...SUMMARIES.slice(1).map((one) => `${one}(metrics.`),
  ];
  const wanted = word.toLowerCase();
  const starts = fields.filter((one) => one.toLowerCase().startsWith(wanted));
  const rest = wanted ? fields.filter((one) => !one.toLowerCase().startsWith(wanted) && one.toLowerCase().includes(wanted)) : [];
  return { from, options: [...starts, ...rest].filter((one) => one !== word).slice(0, MOST) };
}

/** What stands in the field, and what of it is the filter: a moment later, while somebody types. @param {string} value @param {(filter: string, how: {replace: boolean}) => void} onChange */
function useTyped(value, onChange) {
  const [text, setText] = useState(value);
  const timer = useRef(0);
  const hasTyped = useRef(false); // since the focus came: one entry of the history for all of it
  const known = useRef(value); // the filter as last sent or received; what comes back of our own is not written over what is typed
  useLayoutEffect(() => {
    if (value === known.current) return;
    known.current = value; // back and forward
    clearTimeout(timer.current);
    setText(value);
  }, [value]);
  /** @param {string} next @param {number} [delay] */
  const later = (next, delay = SETTLED_MS) => {
    setText(next);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => {
      if (next.trim() === known.current) return;
      known.current = next.trim();
      onChange(known.current, { replace: hasTyped.current });
      hasTyped.current = true;
    }, delay);
  };
  return { text, later, onBlur: () => void (hasTyped.current = false) };
}

/** @param {{value: string, keys: Keys, error: unknown, onChange: (filter: string, how: {replace: boolean}) => void, inputRef: {current: HTMLInputElement | null}, count: string}} props */
export function FilterInput({ value, keys, error, onChange, inputRef, count }) {
  const { text, later, onBlur } = useTyped(value, onChange);
  const [offer, setOffer] = useState(/** @type {{from: number, options: string[], at: number} | null} */ (null));
  /** @param {HTMLInputElement} input */
  const look = (input) => {
    const { from, options } = completions(input.value.slice(0, input.selectionStart ?? input.value.length), keys);
    setOffer(options.length ? { from, options, at: -1 } : null);
  };
  /** @param {string} option */
  const take = (option) => {
    const input = /** @type {HTMLInputElement} */ (inputRef.current);
    const end = input.selectionStart ?? input.value.length;
    const space = option.endsWith(".") || option.endsWith("'") ? "" : " ";
    const next = input.value.slice(0, offer?.from ?? 0) + option + space + input.value.slice(end);
    const cursor = (offer?.from ?? 0) + option.length + space.length - (/^(I?LIKE|~|IN) /.test(option) ? (option.startsWith("IN") ? 2 : 1) : 0);
    input.value = next; // at once: the next key may come before the next frame
    input.focus();
    input.setSelectionRange(cursor, cursor);
    later(next);
    look(input);
  };
  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    if (event.key === "Escape") return void (offer ? setOffer(null) : inputRef.current?.blur());
    if (event.key === "Enter" && (!offer || offer.at < 0)) return void (setOffer(null), later(text, 0));
    if (!offer) return;
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) setOffer({ ...offer, at: (offer.at + by + offer.options.length) % offer.options.length });
    else if (event.key === "Tab" && !event.shiftKey) take(offer.options[Math.max(0, offer.at)]);
    else if (event.key === "Enter") take(offer.options[offer.at]);
    else return;
    event.preventDefault();
  };
  const problem = error instanceof ApiError && error.code === "bad_filter" ? error : null;
  return html`
    <div class="filter">
      <label class="search"><${Icon} name="filter" /><span class="sr-only">Filter runs</span>
        <input type="text" class="mono" ref=${inputRef} value=${text} spellcheck=${false} autocomplete="off" placeholder="Filter: metrics.loss < 0.1 AND params.lr = '0.01'" aria-invalid=${Boolean(problem)}
          role="combobox" aria-label="Filter runs" aria-expanded=${Boolean(offer)} aria-controls="filter-offer" aria-autocomplete="list" aria-activedescendant=${offer && offer.at >= 0 ? `filter-${offer.at}` : undefined}
          onInput=${(/** @type {any} */ event) => (later(event.currentTarget.value), look(event.currentTarget))} onFocus=${(/** @type {any} */ event) => look(event.currentTarget)} onBlur=${() => (onBlur(), setTimeout(() => setOffer(null), 120))} onKeyDown=${onKey} />
        ${text ? html`<button class="icon-button small clear" aria-label="Clear the filter" onClick=${() => later("", 0)}><${Icon} name="close" size=${13} /></button>` : html`<span class="count">${count}</span>`}
      </label>
      ${offer ? html`<ul id="filter-offer" class="offer" role="listbox" aria-label="Completions">${offer.options.map((one, i) => html`<li role="option" id=${`filter-${i}`} aria-selected=${i === offer.at} onMouseDown=${(/** @type {Event} */ event) => (event.preventDefault(), take(one))}>${one}</li>`)}</ul>` : null}
      ${problem ? html`<div class="filter-error" role="alert">${problem.pointed ? html`<pre>${problem.pointed}</pre>` : null}<span>${problem.message}</span></div>` : null}
    </div>`;
}
