/** Who is logged in, logging in and out. The session itself is a cookie that no script can read. */
import { get, post, request, session } from "./api.js";

/** Asks the service who we are; before that everybody counts as an admin, and the service refuses what is not allowed. */
export async function loadSession() {
  take(await get("/api/v1/session"));
}

/** @param {string} token */
export async function logIn(token) {
  take(await post("/api/v1/login", { token }));
}

export async function logOut() {
  await request("POST", "/api/v1/logout", undefined, {});
  session.set({ ...session.get(), role: "read", name: "", needsLogin: true });
}

/** @param {{needs_token: boolean, role: string | null, name: string | null}} answer */
function take({ needs_token, role, name }) {
  session.set({ role: role ?? "read", name: name ?? "", needsLogin: needs_token && role === null });
}
