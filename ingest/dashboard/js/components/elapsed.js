/** How a run stands: its status, and how long it has run, by a stop-watch while it does. */
import { html, useEffect, useState } from "../lib.js";
import { formatAgo, formatDuration } from "../format.js";

/** @param {{start: number, end: number | null | undefined, isRunning: boolean}} props */
export function Elapsed({ start, end, isRunning }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!isRunning) return;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [isRunning]);
  if (end == null && !isRunning) return null;
  const ms = (end ?? now) - start;
  return html`<span class="elapsed">${formatDuration(isRunning ? Math.max(0, Math.floor(ms / 1000) * 1000) : ms)}</span>`;
}

/** @param {{status: string, heard?: number}} props heard: when a lost run last gave a sign of life, to be told */
export function Status({ status, heard }) {
  const title = status === "LOST" ? "No heartbeat: the process was killed or its machine is gone. Data that arrives revives it." : undefined;
  const name = status.charAt(0) + status.slice(1).toLowerCase();
  return html`<span class=${`status ${status.toLowerCase()}`} title=${title}>${status === "LOST" && heard ? `${name}, last heard ${formatAgo(heard)}` : name}</span>`;
}
