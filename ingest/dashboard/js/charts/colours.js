/** Colours of runs: twelve that differ for most eyes on both grounds, given out by age, so that a run keeps its own as long as its neighbours stay. */

export const PALETTE = ["#4c6ef5", "#f08c00", "#0ca678", "#e64980", "#7950f2", "#1098ad", "#d9480f", "#66a80f", "#ae3ec9", "#228be6", "#c2255c", "#a07914"];

/** Some of them by name, for people to choose from. */
export const NAMED = { "4c6ef5": "Blue", f08c00: "Orange", "0ca678": "Green", e64980: "Pink", "7950f2": "Violet", c2255c: "Red", "1098ad": "Cyan" };

/**
 * @param {string[]} runIds
 * @param {Record<string, string>} [chosen] by run id, hex digits without `#`
 * @returns {Map<string, string>}
 */
export function coloursOf(runIds, chosen = {}) {
  // Ids are UUIDv7: in order of age. A run that starts now takes the next colour and moves nobody else's.
  const byAge = [...runIds].sort();
  return new Map(byAge.map((id, i) => [id, /^[0-9a-f]{6}$/.test(chosen[id] ?? "") ? `#${chosen[id]}` : PALETTE[i % PALETTE.length]]));
}

/** The colour with an opacity of 0 … 1. @param {string} colour `#rrggbb` @param {number} alpha */
export const faded = (colour, alpha) => colour + Math.round(alpha * 255).toString(16).padStart(2, "0");
