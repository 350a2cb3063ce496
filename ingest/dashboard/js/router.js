/** From an address to a page, and links that stay on the page. MLflow's addresses (`/#/experiments/1/runs/…`) lead to ours. */
import { html, useEffect, useState } from "./lib.js";
import { PAGES } from "./pages.js";
import { ErrorState, LoadingState, NotFoundState } from "./components/states.js";
import { navigate, safelyDecoded, useAddress } from "./url.js";

/**
 * @param {string} path
 * @returns {{page: import("./pages.js").PageEntry, params: Record<string, string>} | null}
 */
export function match(path) {
  const parts = path.replace(/\/+$/, "").split("/");
  for (const page of PAGES) {
    const wanted = page.path.replace(/\/+$/, "").split("/");
    if (wanted.length !== parts.length) continue;
    if (!wanted.every((part, i) => (part.startsWith(":") ? parts[i] !== "" : part === parts[i]))) continue;
    const named = wanted.map((part, i) => /** @type {const} */ ([part.slice(1), safelyDecoded(parts[i])])).filter((_, i) => wanted[i].startsWith(":"));
    return { page, params: Object.fromEntries(named) };
  }
  return null;
}

/** What the `mlflow` client prints as a link. @param {string} hash */
export function fromMlflow(hash) {
  const run = /^#\/experiments\/\d+\/runs\/([0-9a-f]{32})/.exec(hash);
  if (run) return `/runs/${run[1]}`;
  const experiment = /^#\/experiments\/(\d+)/.exec(hash);
  return experiment ? `/experiments/${experiment[1]}` : null;
}

/** Clicks on links to our own pages do not load the page anew. @param {MouseEvent} event */
export function followLink(event) {
  const link = /** @type {HTMLElement} */ (event.target).closest?.("a[href]");
  if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || link.target || link.hasAttribute("download")) return;
  if (link.origin !== location.origin || !match(link.pathname)) return;
  event.preventDefault();
  navigate(link.pathname + link.search);
}

/** The page of the present address. */
export function Outlet() {
  const { path } = useAddress();
  const found = match(path);
  const page = found?.page;
  const [loaded, setLoaded] = useState(/** @type {{page: any, Page?: any, error?: unknown} | null} */ (null));
  useEffect(() => {
    if (!page) return;
    document.title = `${page.title} · ingest`;
    let stale = false;
    page.load().then(
      (module) => stale || setLoaded({ page, Page: module.default }),
      (error) => stale || setLoaded({ page, error }),
    );
    return () => void (stale = true);
  }, [page]);
  if (!found) return html`<${NotFoundState} what="page" />`;
  if (loaded?.page !== page) return html`<${LoadingState} />`;
  if (loaded?.error) {
    return html`<${ErrorState} title="This page could not be loaded" error=${loaded.error} hint="The service may have been updated: reload the page." retry=${() => location.reload()} />`;
  }
  return html`<${loaded?.Page} key=${path} ...${found.params} />`;
}
