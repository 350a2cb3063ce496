/** Dialogs on the browser's own <dialog>: focus stays inside, Escape closes, focus goes back where it was. */
import { html, render, useEffect, useRef } from "../lib.js";
import { Icon } from "./icons.js";

/** @param {{title: string, onClose: () => void, children?: any, wide?: boolean, footer?: any}} props */
export function Dialog({ title, onClose, children, wide = false, footer }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    const before = document.activeElement;
    element.current?.showModal();
    return () => void (before instanceof HTMLElement && before.focus());
  }, []);
  /** @param {MouseEvent} event */
  const outside = (event) => event.target === element.current && onClose();
  return html`
    <dialog ref=${element} class=${`dialog${wide ? " wide" : ""}`} aria-label=${title} onClose=${onClose} onMouseDown=${outside}>
      <div class="dialog-box">
        <header><h2>${title}</h2><button class="icon-button" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></header>
        <div class="dialog-body">${children}</div>
        ${footer ? html`<footer>${footer}</footer>` : null}
      </div>
    </dialog>`;
}

/**
 * A dialog for one question, outside any component's tree.
 * @template T
 * @param {(answer: (value: T | null) => void) => any} draw draws the dialog; closing it answers null
 * @returns {Promise<T | null>}
 */
export function ask(draw) {
  const place = document.body.appendChild(document.createElement("div"));
  return new Promise((resolve) => {
    /** @param {T | null} value */
    const answer = (value) => {
      render(null, place);
      place.remove();
      resolve(value);
    };
    render(draw(answer), place);
  });
}

/** @param {{title: string, text: string, action: string, danger?: boolean}} question @returns {Promise<boolean>} */
export async function confirmed({ title, text, action, danger = false }) {
  const said = await ask(
    /** @param {(value: true | null) => void} answer */ (answer) => html`
      <${Dialog} title=${title} onClose=${() => answer(null)}
        footer=${html`<button onClick=${() => answer(null)}>Cancel</button><button class=${danger ? "danger" : "primary"} autofocus onClick=${() => answer(true)}>${action}</button>`}>
        <p>${text}</p>
      </${Dialog}>`,
  );
  return said === true;
}

/** One line of text. @param {{title: string, label: string, value?: string, action?: string, rows?: number}} question @returns {Promise<string | null>} */
export function prompted({ title, label, value = "", action = "Save", rows = 1 }) {
  return ask((answer) => {
    /** @param {SubmitEvent} event */
    const submit = (event) => {
      event.preventDefault();
      answer(String(new FormData(/** @type {HTMLFormElement} */ (event.currentTarget)).get("text")));
    };
    return html`
      <${Dialog} title=${title} onClose=${() => answer(null)} wide=${rows > 1}>
        <form onSubmit=${submit} class="stack">
          <label class="field">${label}
            ${rows > 1 ? html`<textarea name="text" rows=${rows} autofocus>${value}</textarea>` : html`<input name="text" value=${value} autofocus autocomplete="off" />`}
          </label>
          <div class="row end"><button type="button" onClick=${() => answer(null)}>Cancel</button><button class="primary">${action}</button></div>
        </form>
      </${Dialog}>`;
  });
}
