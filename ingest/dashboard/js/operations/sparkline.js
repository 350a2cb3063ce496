/** A small curve without axes: how a rate moved while the page was open. */
import { html } from "../lib.js";

/** @param {{values: (number | null)[], label: string, width?: number, height?: number}} props */
export function Sparkline({ values, label, width = 320, height = 56 }) {
  const known = values.filter((one) => one !== null);
  if (known.length < 2) return html`<div class="sparkline muted" style=${`height: ${height}px`}>The curve begins in some seconds.</div>`;
  const most = Math.max(...known, 1e-9);
  const step = width / Math.max(values.length - 1, 1);
  const points = values.flatMap((one, i) => (one === null ? [] : [`${(i * step).toFixed(1)},${(height - 3 - (one / most) * (height - 8)).toFixed(1)}`]));
  return html`
    <svg class="sparkline" viewBox=${`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label=${label}>
      <polygon points=${`${points[0].split(",")[0]},${height} ${points.join(" ")} ${points.at(-1)?.split(",")[0]},${height}`} />
      <polyline points=${points.join(" ")} vector-effect="non-scaling-stroke" />
    </svg>`;
}
