/** What charts leave out, so that nothing is left out in silence: how many of how many have a curve, and what shows the rest. */
import { html } from "../lib.js";
import { Icon } from "../components/icons.js";
import { formatCount } from "../format.js";

export const MOST_RANKS = 64; // of one run: each is a line and a question
export const MOST_GROUPS = 12; // each reads all points of its runs

/** @typedef {{id: string, name: string}} Run */

/**
 * Shown above the charts while ranks have lines of their own and some have none.
 * @param {{runs: Run[], ranks: Record<string, number[]>, showTogether: () => void}} props ranks: all that logged, by run id
 */
export function CutRanks({ runs, ranks, showTogether }) {
  const cut = runs.filter((run) => (ranks[run.id]?.length ?? 0) > MOST_RANKS);
  if (!cut.length) return null;
  const most = Math.max(...cut.map((run) => ranks[run.id].length));
  const which = cut.length === 1 ? `${MOST_RANKS} of the ${formatCount(most)} ranks of ${cut[0].name} have a line` : `Of ${formatCount(cut.length)} runs with up to ${formatCount(most)} ranks ${MOST_RANKS} have a line each`;
  return html`
    <p class="chart-cut" role="status"><${Icon} name="eye" /><span>${which}: the lowest. All of them are in the mean and its band.</span>
      <button onClick=${showTogether}>Show the band</button></p>`;
}

/** Shown above the charts of groups where there are more. @param {{count: number}} props count: of all groups */
export const CutGroups = ({ count }) =>
  count > MOST_GROUPS
    ? html`<p class="chart-cut" role="status"><${Icon} name="eye" /><span>${`The first ${MOST_GROUPS} of ${formatCount(count)} groups have curves. Filter the runs, or select some, to see others.`}</span></p>`
    : null;
