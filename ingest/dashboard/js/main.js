/** Mounts the dashboard: the bar at the top, the page below it, dialogs and messages above both. */
import { html, render, useEffect } from "./lib.js";
import { online, session } from "./api.js";
import { Keys, useKeys } from "./components/keys.js";
import { Toasts } from "./components/toast.js";
import { ThemeButton } from "./components/theme-button.js";
import { Icon } from "./components/icons.js";
import { PAGES } from "./pages.js";
import { Outlet, followLink, fromMlflow } from "./router.js";
import { loadSession } from "./session.js";
import { useStore } from "./store.js";
import { navigate, useAddress } from "./url.js";

const NAV = PAGES.filter((page) => page.nav);

function TopBar() {
  const { path } = useAddress();
  const isOnline = useStore(online);
  /** @param {string} to */
  const current = (to) => (path === to || path.startsWith(`${to}/`) || (path === "/" && to === "/experiments") ? "page" : undefined);
  return html`
    <header class="topbar">
      <a class="brand" href="/experiments" aria-label="ingest, experiments"><${Icon} name="logo" />ingest</a>
      <nav aria-label="Pages">
        ${NAV.map((page) => html`<a href=${page.path} aria-current=${current(page.path)}>${page.nav?.label}</a>`)}
      </nav>
      <span class="spacer"></span>
      ${isOnline ? null : html`<span class="pill offline" role="status"><${Icon} name="offline" />Offline, trying again</span>`}
      <${ThemeButton} />
      <button class="icon-button show-keys" title="Keys (?)" aria-label="Show the keys" onClick=${() => dispatchEvent(new CustomEvent("show-keys"))}><${Icon} name="keyboard" /></button>
    </header>`;
}

function App() {
  const { needsLogin } = useStore(session);
  const { path } = useAddress();
  useEffect(() => {
    if (needsLogin && path !== "/login") navigate(`/login?next=${encodeURIComponent(path + location.search)}`, { replace: true });
  }, [needsLogin, path]);
  useKeys("Everywhere", NAV.map((page) => ({ keys: `g ${page.nav?.key}`, does: `Go to ${page.nav?.label}`, run: () => navigate(page.path) })));
  return html`
    <a class="skip" href="#main">Skip to content</a>
    <${TopBar} />
    <main id="main" tabindex="-1"><${Outlet} /></main>
    <${Keys} /><${Toasts} />`;
}

const target = fromMlflow(location.hash);
if (target) navigate(target, { replace: true });
document.addEventListener("click", followLink);
void loadSession().catch(() => {}); // away for now: the pages say so and try again
render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
