/** How charts are shown: the part of a view's state (see url.js) that all charts of a page share. */
import { choice, flag, integer, list, number, text } from "../url.js";

/** @typedef {"step" | "time" | "relative" | "metric"} Axis */

export const CHART_VIEW = {
  /** What is on x; `metric` takes `xkey`. */
  x: choice(/** @type {const} */ (["step", "relative", "time", "metric"])),
  xkey: text(),
  /** The zoomed range on x, in its unit; null for all. */
  from: number(),
  to: number(),
  logx: flag(),
  logy: flag(),
  /** Weight of the exponential average in percent; 0 draws none. */
  smooth: integer(0),
  clip: flag(),
  /** One line for each rank instead of all ranks together. */
  ranks: flag(),
  /** What surrounds the mean of a group. */
  band: choice(/** @type {const} */ (["minmax", "std", "none"])),
  /** Search for metrics. */
  find: text(),
  /** Charts shown first, in this order. */
  top: list(),
  /** Columns of the grid, 0 for as many as fit; height of a chart in pixels. */
  cols: integer(0),
  high: integer(230),
  /** Sections that are folded. */
  fold: list(["system"]),
  /** The chart that fills the screen. */
  full: text(),
};

/** @typedef {import("../url.js").View<typeof CHART_VIEW>} ChartView */
