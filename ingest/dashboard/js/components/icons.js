/** Line icons on a grid of 16, drawn in the text's colour; decoration beside a name, so hidden from screen readers. */
import { html } from "../lib.js";

const PATHS = {
  logo: "M1.5 11.5c3 0 2.5-7 5.5-7s2.5 4.5 5 4.5M12 9a1.6 1.6 0 1 0 3.2 0A1.6 1.6 0 1 0 12 9",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9M10.5 10.5 14 14",
  close: "m4 4 8 8m0-8-8 8",
  check: "m3 8.5 3.2 3L13 4.5",
  chevron: "m4 6 4 4 4-4",
  right: "m6 4 4 4-4 4",
  up: "M8 13V3M4 7l4-4 4 4",
  down: "M8 3v10m-4-4 4 4 4-4",
  more: "M3 8h.01M8 8h.01M13 8h.01",
  plus: "M8 3v10M3 8h10",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  filter: "M2 3.5h12L9.5 9v4l-3-1.5V9z",
  group: "M2.5 3.5h11M5 8h8.5M5 12.5h8.5M2.5 3.5V12.5",
  expand: "M9.5 2.5h4v4M6.5 13.5h-4v-4M13.5 2.5 9 7M2.5 13.5 7 9",
  download: "M8 2.5v8m-3.5-3L8 11l3.5-3.5M2.5 13.5h11",
  settings: "M2 5h7m3 0h2M2 11h2m3 0h7M10.5 3.3v3.4M5.5 9.3v3.4",
  sun: "M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6M8 1.5v1.3m0 10.4v1.3M1.5 8h1.3m10.4 0h1.3M3.4 3.4l.9.9m7.4 7.4.9.9m0-9.2-.9.9m-7.4 7.4-.9.9",
  moon: "M13.3 9.6A5.6 5.6 0 0 1 6.4 2.7a5.6 5.6 0 1 0 6.9 6.9",
  auto: "M8 13.5a5.5 5.5 0 1 0 0-11zM8 2.5v11",
  keyboard: "M1.5 4h13v8h-13zM4 6.5h.01M6.6 6.5h.01M9.3 6.5h.01M12 6.5h.01M5 9.5h6",
  offline: "M2 2l12 12M3 7.5a8 8 0 0 1 2.5-1.6m5 .2A8 8 0 0 1 13 7.5M5.3 10a4.3 4.3 0 0 1 4-.9M8 12.6h.01",
  trash: "M2.5 4h11M6 4V2.5h4V4M4 4l.6 9.5h6.8L12 4M6.7 6.7v4m2.6-4v4",
  restore: "M3 8a5 5 0 1 0 1.6-3.7L2.5 6.2M2.5 2.7v3.5H6",
  pin: "M6 2.5h4l-.5 4 2 2.5h-7l2-2.5zM8 9v4.5",
  edit: "M10.5 3.5l2 2L6 12l-2.8.8.8-2.8z",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  link: "M6.5 9.5l3-3M7 4.5l1-1a3.2 3.2 0 0 1 4.5 4.5l-1 1M9 11.5l-1 1A3.2 3.2 0 0 1 3.5 8l1-1",
  eye: "M1.5 8S4 3.8 8 3.8 14.5 8 14.5 8 12 12.2 8 12.2 1.5 8 1.5 8M8 9.8a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6",
  note: "M3.5 2.5h9v11h-9zM5.8 5.5h4.4M5.8 8h4.4M5.8 10.5h2.4",
  tag: "M2.5 2.5h5l6 6-5 5-6-6zM5.3 5.3h.01",
  play: "M5 3.5v9l7-4.5z",
  refresh: "M13 8a5 5 0 1 1-1.6-3.7l2.1 1.9M13.5 2.7v3.5H10",
  chart: "M2.5 2.5v11h11M5 10l2.5-3 2 1.5L13 4.5",
  zoomout: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9M10.5 10.5 14 14M5 7h4",
  folder: "M2 4h4.5L8 5.5h6v7.5H2z",
  file: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
};

/** @typedef {keyof typeof PATHS} IconName */

/** @param {{name: IconName, size?: number}} props */
export function Icon({ name, size = 16 }) {
  return html`<svg class="icon" width=${size} height=${size} viewBox="0 0 16 16" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
}
