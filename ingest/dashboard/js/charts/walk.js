/** A chart by keys: the arrows move the cursor over its curves, with shift what is shown of them; + and − zoom around the cursor. */

const STEP = 0.02; // of the width
const MOVE = 0.25;

/** @param {KeyboardEvent} event @param {import("uplot")} plot @param {(from: number, to: number) => void} zoom */
export function onPlotKey(event, plot, zoom) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const width = plot.over.clientWidth;
  const { left = -1 } = plot.cursor;
  const at = left < 0 ? width / 2 : left;
  /** @param {number} from @param {number} to pixels */
  const show = (from, to) => zoom(plot.posToVal(from, "x"), plot.posToVal(to, "x"));
  const sign = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (sign && event.shiftKey) show(sign * MOVE * width, width + sign * MOVE * width);
  else if (sign) plot.setCursor({ left: Math.max(0, Math.min(width, at + sign * STEP * width)), top: plot.over.clientHeight / 2 });
  else if (event.key === "+" || event.key === "=") show(at / 2, (at + width) / 2);
  else if (event.key === "-") show(-at, 2 * width - at);
  else return;
  event.preventDefault();
}
