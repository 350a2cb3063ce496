/** The login: a token for a session. Whoever arrives logged in goes on to where they wanted. */
import { html, useEffect, useState } from "../lib.js";
import { session } from "../api.js";
import { Icon } from "../components/icons.js";
import { logIn } from "../session.js";
import { useStore } from "../store.js";
import { navigate, text, useView } from "../url.js";

const VIEW = { next: text("/experiments") };

/** Only to pages of our own. @param {string} next */
const safe = (next) => (/^\/(?![/\\])/.test(next) && !next.startsWith("/login") ? next : "/experiments");

export default function Login() {
  const [{ next }] = useView(VIEW);
  const { needsLogin, role } = useStore(session);
  const [error, setError] = useState("");
  const [isBusy, setBusy] = useState(false);
  const writesOnly = !needsLogin && role === "write";
  useEffect(() => {
    if (!needsLogin && !writesOnly) navigate(safe(next), { replace: true });
  }, [needsLogin, writesOnly]);
  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    const token = String(new FormData(/** @type {HTMLFormElement} */ (event.currentTarget)).get("token")).trim();
    setBusy(true);
    setError("");
    try {
      await logIn(token);
    } catch (problem) {
      setError(problem instanceof Error ? problem.message : String(problem));
    } finally {
      setBusy(false);
    }
  };
  const problem = writesOnly ? "This token may only write. The dashboard needs one with the role read or admin." : error;
  return html`
    <div class="login">
      <form class="card login-card" onSubmit=${submit}>
        <${Icon} name="logo" size=${36} />
        <h1>Log in</h1>
        <p class="muted">This service asks for a token.</p>
        <label class="field">Token
          <input name="token" type="password" autocomplete="current-password" placeholder="ingest_…" required autofocus spellcheck="false" aria-describedby="login-problem" />
        </label>
        <p id="login-problem" class="problem" role="alert">${problem}</p>
        <button class="primary" disabled=${isBusy}>${isBusy ? "Logging in …" : "Log in"}</button>
        <p class="muted small">Whoever runs the service makes one: <code>ingest token create NAME --role read</code></p>
      </form>
    </div>`;
}
