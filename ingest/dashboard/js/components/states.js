/** What stands where data is not: loading, nothing there, an error, no such page. Each says what to do. */
import { html, useEffect, useState } from "../lib.js";
import { ApiError } from "../api.js";
import { Icon } from "./icons.js";

const PATIENCE_MS = 150; // a shorter wait shows no spinner, which would only flicker

/** @param {{what?: string}} props */
export function LoadingState({ what = "Loading" }) {
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, []);
  return html`<div class="state" role="status" aria-live="polite">${isLate ? html`<span class="spinner"></span><p>${what} …</p>` : null}</div>`;
}

/** @param {{title: string, children?: any, icon?: import("./icons.js").IconName}} props */
export function EmptyState({ title, children, icon = "chart" }) {
  return html`<div class="state empty"><${Icon} name=${icon} size=${28} /><h2>${title}</h2>${children}</div>`;
}

/** @param {{error: unknown, title?: string, hint?: string, retry?: () => void}} props */
export function ErrorState({ error, title, hint, retry }) {
  const message = error instanceof Error ? error.message : String(error);
  const advice = hint ?? (error instanceof ApiError ? error.hint : "");
  return html`
    <div class="state error" role="alert">
      <h2>${title ?? "That did not work"}</h2>
      <p>${message}</p>
      ${advice ? html`<p class="muted">${advice}</p>` : null}
      ${retry ? html`<button onClick=${retry}><${Icon} name="refresh" />Try again</button>` : null}
    </div>`;
}

/** @param {{what: string}} props */
export function NotFoundState({ what }) {
  return html`<${EmptyState} title=${`There is no such ${what}`} icon="search"><p class="muted">It was deleted for good, or the link is not whole.</p><p><a href="/experiments">To the experiments</a></p></${EmptyState}>`;
}
