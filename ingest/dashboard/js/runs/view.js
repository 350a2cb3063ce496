/** The state of the page of runs: what is searched, shown, chosen; with the charts' own state beside it. */
import { CHART_VIEW } from "../charts/options.js";
import { choice, list, map, text } from "../url.js";

export const RUNS_VIEW = {
  ...CHART_VIEW,
  /** In the grammar of docs/search.md. */
  filter: text(),
  /** A field, with ` DESC` for the other way round. */
  order: text(),
  /** Fields shown, in their order; none: chosen from what the runs have. */
  col: list(),
  /** How many of them stay in sight when the rest is scrolled, `2`; and widths in pixels by field. */
  pin: text("1"),
  width: map(),
  /** Fields whose equal values make a group. */
  group: list(),
  /** Ids of the runs that are selected: these have curves; without any the first ten have. */
  sel: list(),
  /** Colours that somebody chose, by run id. */
  colour: map(),
  life: choice(/** @type {const} */ (["active", "deleted", "all"])),
  show: choice(/** @type {const} */ (["both", "table", "charts"])),
};

/** @typedef {import("../url.js").View<typeof RUNS_VIEW>} RunsView */
/** @typedef {(changes: Partial<RunsView>, how?: {replace?: boolean}) => void} Change */
