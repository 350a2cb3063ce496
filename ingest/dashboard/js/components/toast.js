/** Short messages at the lower edge: what was done, with a way back where there is one, or what failed. */
import { html } from "../lib.js";
import { createStore, useStore } from "../store.js";
import { Icon } from "./icons.js";

const SHOWN_MS = 6000;
const MOST = 4;

/** @typedef {{id: number, text: string, kind: "info" | "error", action?: {label: string, run: () => void}}} Toast */
const toasts = createStore(/** @type {Toast[]} */ ([]));
let last = 0;

/** @param {string} text @param {{kind?: "info" | "error", action?: Toast["action"]}} [options] */
export function toast(text, { kind = "info", action } = {}) {
  const id = ++last;
  toasts.set([...toasts.get(), { id, text, kind, action }].slice(-MOST));
  setTimeout(() => dismiss(id), kind === "error" ? 2 * SHOWN_MS : SHOWN_MS);
}

/** @param {unknown} error */
export const toastError = (error) => toast(error instanceof Error ? error.message : String(error), { kind: "error" });

/** @param {number} id */
const dismiss = (id) => toasts.set(toasts.get().filter((one) => one.id !== id));

export function Toasts() {
  return html`
    <div class="toasts" role="status" aria-live="polite">
      ${useStore(toasts).map(
        ({ id, text, kind, action }) => html`
          <div class=${`toast ${kind}`} key=${id}>
            <span>${text}</span>
            ${action ? html`<button class="link" onClick=${() => (dismiss(id), action.run())}>${action.label}</button>` : null}
            <button class="icon-button" aria-label="Dismiss" onClick=${() => dismiss(id)}><${Icon} name="close" size=${14} /></button>
          </div>`,
      )}
    </div>`;
}

/** @param {string} text @param {string} [what] */
export async function copyText(text, what = "Copied") {
  try {
    await navigator.clipboard.writeText(text);
    toast(what);
  } catch {
    toast("The browser does not let this page use the clipboard.", { kind: "error" });
  }
}
