/** Pictures of one series with a slider over their steps; arrow keys on the slider go on by one. */
import { html, useEffect, useMemo, useState } from "../lib.js";
import { formatCount } from "../format.js";
import { fileAddress } from "./files.js";

/** @param {{runId: string, pictures: {path: string, step: number}[], at: string, onShow: (path: string) => void}} props */
export function ImageSeries({ runId, pictures, at, onShow }) {
  const start = useMemo(() => Math.max(0, pictures.findIndex((one) => one.path === at)), [at]);
  const [place, setPlace] = useState(pictures[start].path === at ? start : pictures.length - 1);
  const shown = pictures[Math.min(place, pictures.length - 1)];
  useEffect(() => onShow(shown.path), [shown.path]);
  useEffect(() => {
    for (const next of [pictures[place + 1], pictures[place - 1]]) if (next) new Image().src = fileAddress(runId, next.path); // so that sliding does not flicker
  }, [place]);
  return html`
    <figure class="picture">
      <img src=${fileAddress(runId, shown.path)} alt=${`Step ${shown.step}`} />
      ${pictures.length > 1
        ? html`<figcaption class="row"><label class="row grow">Step
            <input type="range" class="grow" min="0" max=${pictures.length - 1} value=${place} aria-valuetext=${`step ${shown.step}`} onInput=${(/** @type {any} */ event) => setPlace(Number(event.target.value))} /></label>
            <output>${formatCount(shown.step)}</output><span class="muted">${place + 1} of ${pictures.length}</span></figcaption>`
        : html`<figcaption class="muted">Step ${formatCount(shown.step)}</figcaption>`}
    </figure>`;
}
