/** A text field for SQL: line numbers, completion of relations and columns, the place of an error. Tab leaves it, as in every field. */
import { html, useLayoutEffect, useRef, useState } from "../lib.js";
import { completions, lineOf, wordAt } from "./words.js";

/**
 * @param {{value: string, relations: import("./words.js").Relation[], errorAt?: number | null, onInput: (value: string) => void, onRun: () => void}} props
 */
export function Editor({ value, relations, errorAt, onInput, onRun }) {
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const gutter = useRef(/** @type {HTMLDivElement | null} */ (null));
  const [offered, setOffered] = useState(/** @type {import("./words.js").Completion[]} */ ([]));
  const [at, setAt] = useState(0);
  const lines = value.split("\n");
  const wrong = errorAt ? lineOf(value, errorAt) : null;
  useLayoutEffect(() => {
    if (!errorAt || !field.current) return;
    field.current.focus();
    field.current.setSelectionRange(errorAt - 1, errorAt - 1 + (/^\w+/.exec(value.slice(errorAt - 1))?.[0].length ?? 1));
  }, [errorAt]);
  const offer = () => {
    const { value: text, selectionStart } = /** @type {HTMLTextAreaElement} */ (field.current);
    setOffered(completions(text, selectionStart, relations));
    setAt(0);
  };
  /** @param {string} word */
  const take = (word) => {
    const area = /** @type {HTMLTextAreaElement} */ (field.current);
    const found = wordAt(area.value, area.selectionStart);
    const from = found.from + found.word.lastIndexOf(".") + 1;
    area.setRangeText(word, from, area.selectionStart, "end");
    onInput(area.value);
    setOffered([]);
    area.focus();
  };
  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return void (event.preventDefault(), setOffered([]), onRun());
    if (event.key === " " && event.ctrlKey) return void (event.preventDefault(), offer());
    if (!offered.length) return;
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) setAt((at + move + offered.length) % offered.length);
    else if (event.key === "Enter" || event.key === "Tab") take(offered[at].word);
    else if (event.key === "Escape") setOffered([]);
    else return;
    event.preventDefault();
  };
  return html`
    <div class="editor">
      <div class="editor-lines" aria-hidden="true" ref=${gutter}>${lines.map((_, i) => html`<span class=${wrong?.line === i + 1 ? "wrong" : ""}>${i + 1}</span>`)}</div>
      <textarea ref=${field} value=${value} rows=${Math.min(Math.max(lines.length, 7), 22)} spellcheck="false" autocapitalize="off" autocomplete="off" wrap="off"
        aria-label="SQL statement" aria-autocomplete="list" aria-controls=${offered.length ? "sql-offers" : undefined} aria-activedescendant=${offered.length ? `sql-offer-${at}` : undefined}
        onInput=${() => (onInput(field.current?.value ?? ""), offer())} onKeyDown=${onKey} onBlur=${() => setOffered([])}
        onScroll=${() => gutter.current && field.current && (gutter.current.scrollTop = field.current.scrollTop)}></textarea>
      ${offered.length
        ? html`<ul class="offers" id="sql-offers" role="listbox" aria-label="Completions">
            ${offered.map((one, i) => html`<li role="option" id=${`sql-offer-${i}`} aria-selected=${i === at} onPointerDown=${(/** @type {Event} */ event) => (event.preventDefault(), take(one.word))}><span>${one.word}</span><small>${one.told}</small></li>`)}
          </ul>`
        : null}
    </div>`;
}
