/** Numbers, times and durations as people read them. Pure; times are ms since the epoch, shown in the browser's zone. */

/** @param {number | string | null | undefined} value a metric's value; JSON has NaN and the infinities as texts */
export function formatValue(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value === "Infinity" ? "∞" : value === "-Infinity" ? "−∞" : value;
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e7 || size < 1e-4)) return minus(value.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e"));
  if (Number.isInteger(value)) return formatCount(value);
  return minus(String(Number(value.toPrecision(5))));
}

/** @param {number} count */
export const formatCount = (count) => minus(count.toLocaleString("en-US"));

/** @param {string} text */
const minus = (text) => text.replace("-", "−");

/** 1,234 → 1.2k, for where there is little room. @param {number} count */
export function formatShort(count) {
  const size = Math.abs(count);
  for (const [unit, name] of /** @type {const} */ ([[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])) {
    if (size >= unit) return minus(String(Number((count / unit).toPrecision(3)))) + name;
  }
  return minus(String(Number(count.toPrecision(4))));
}

/** @param {number} bytes */
export function formatBytes(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), 5);
  return `${Number((bytes / 1024 ** power).toPrecision(3))} ${["", "KiB", "MiB", "GiB", "TiB", "PiB"][power]}`;
}

/** @param {number | null | undefined} ms @returns {string} */
export function formatDuration(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "";
  if (ms < 0) return `−${formatDuration(-ms)}`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${Math.floor(seconds % 60)} s`;
}

const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** @param {number | null | undefined} ms */
export const formatTime = (ms) => (ms === null || ms === undefined ? "" : FULL.format(ms));

/** `3 min ago`; the full time belongs into the title. @param {number | null | undefined} ms */
export function formatAgo(ms, now = Date.now()) {
  if (ms === null || ms === undefined) return "";
  const seconds = Math.round((now - ms) / 1000);
  if (seconds < 5) return seconds < -60 ? formatTime(ms) : "just now";
  for (const [unit, name] of /** @type {const} */ ([[86_400, "d"], [3600, "h"], [60, "min"]])) {
    if (seconds >= unit) return `${Math.floor(seconds / unit)} ${name} ago`;
  }
  return `${seconds} s ago`;
}
