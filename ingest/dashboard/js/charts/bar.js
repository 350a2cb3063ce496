/** The bar above the charts: search, x axis, smoothing, and what else changes all of them. */
import { html } from "../lib.js";
import { Icon } from "../components/icons.js";
import { Popover } from "../components/menu.js";
import { formatCount } from "../format.js";

const AXES = /** @type {const} */ ([["step", "Step"], ["relative", "Relative time"], ["time", "Wall time"], ["metric", "Another metric"]]);

/** @param {{view: import("./options.js").ChartView, change: import("./chart.js").ChartProps["change"], searchRef: any, keys: string[], count: number, problem?: string, hasRanks: boolean, hasGroups: boolean}} props */
export function ChartBar({ view, change, searchRef, keys, count, problem, hasRanks, hasGroups }) {
  /** @param {any} event */ const value = (event) => event.currentTarget.value;
  /** @param {"logx" | "logy" | "clip" | "ranks"} name @param {string} label @param {boolean} [isOff] */
  const check = (name, label, isOff = false) =>
    html`<label class="check"><input type="checkbox" checked=${view[name]} disabled=${isOff} onChange=${() => change({ [name]: !view[name] })} />${label}</label>`;
  return html`
    <div class="chart-bar">
      <label class="search"><${Icon} name="search" /><span class="sr-only">Search metrics</span>
        <input type="search" ref=${searchRef} placeholder="Search metrics, /regex/" value=${view.find} aria-invalid=${Boolean(problem)} title=${problem ?? "A piece of the key, a glob such as train/*loss, or a /regular expression/"} onInput=${(/** @type {Event} */ event) => change({ find: value(event) }, { replace: true })} />
        <span class="count" aria-live="polite">${problem ? "no regex" : formatCount(count)}</span>
      </label>
      <label class="inline">x
        <select aria-label="x axis" value=${view.x} onChange=${(/** @type {Event} */ event) => change({ x: value(event), from: null, to: null })}>
          ${AXES.map(([name, label]) => html`<option value=${name} selected=${view.x === name}>${label}</option>`)}
        </select>
      </label>
      ${view.x === "metric"
        ? html`<input list="x-metrics" aria-label="Metric on x" placeholder="metric" value=${view.xkey} onChange=${(/** @type {Event} */ event) => change({ xkey: value(event), from: null, to: null })} />
            <datalist id="x-metrics">${keys.slice(0, 500).map((key) => html`<option value=${key}></option>`)}</datalist>`
        : null}
      <label class="inline" title="Exponential average, drawn over the raw line">Smooth
        <input type="range" min="0" max="99" value=${view.smooth} aria-label="Smoothing" onInput=${(/** @type {Event} */ event) => change({ smooth: Number(value(event)) }, { replace: true })} />
        <output>${view.smooth ? (view.smooth / 100).toFixed(2) : "off"}</output>
      </label>
      ${view.from !== null || view.to !== null ? html`<button class="quiet" onClick=${() => change({ from: null, to: null })}><${Icon} name="zoomout" />Whole range</button>` : null}
      <span class="spacer"></span>
      <${Popover} label="Options" icon="settings" className="quiet" align="right" title="Options of the charts">
        <div class="chart-options">
          ${check("logy", "Logarithmic y")} ${check("logx", "Logarithmic x", view.x === "time")} ${check("clip", "Clip outliers")}
          ${check("ranks", "One line for each rank", !hasRanks || hasGroups)}
          <label class="field">Band of a group
            <select value=${view.band} disabled=${!hasGroups} onChange=${(/** @type {Event} */ event) => change({ band: value(event) })}>
              ${[["minmax", "Least to greatest"], ["std", "Standard deviation"], ["none", "None"]].map(([name, label]) => html`<option value=${name} selected=${view.band === name}>${label}</option>`)}
            </select>
          </label>
          <label class="field">Columns
            <select value=${String(view.cols)} onChange=${(/** @type {Event} */ event) => change({ cols: Number(value(event)) })}>
              ${[0, 1, 2, 3, 4, 5, 6].map((n) => html`<option value=${String(n)} selected=${view.cols === n}>${n || "As many as fit"}</option>`)}
            </select>
          </label>
          <label class="field">Height
            <input type="range" min="120" max="600" step="10" value=${view.high} onInput=${(/** @type {Event} */ event) => change({ high: Number(value(event)) }, { replace: true })} />
          </label>
        </div>
      </${Popover}>
    </div>`;
}
