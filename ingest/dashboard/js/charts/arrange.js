/** Where a chart stands among the others: dragged, or moved by its menu. What was moved by hand stands in a section at the top. */

/** @typedef {import("./options.js").ChartView} View */
/** @typedef {import("./chart.js").ChartProps["change"]} Change */

/** The part of a chart's menu that moves it. @param {string} metric @param {View} view @param {Change} change @returns {import("../components/menu.js").MenuItem[]} */
export function placeItems(metric, view, change) {
  if (!view.top.includes(metric)) return [{ label: "Pin to the top", icon: "pin", run: () => change({ top: [...view.top, metric] }) }];
  return [
    { label: "Unpin from the top", icon: "pin", run: () => change({ top: view.top.filter((one) => one !== metric) }) },
    { label: "Move earlier", icon: "up", run: () => change({ top: moved(view.top, metric, -1) }) },
    { label: "Move later", icon: "down", run: () => change({ top: moved(view.top, metric, 1) }) },
  ];
}

/** @param {string[]} order @param {string} one @param {number} by */
function moved(order, one, by) {
  const at = order.indexOf(one);
  const rest = order.filter((other) => other !== one);
  rest.splice(Math.max(0, at + by), 0, one);
  return rest;
}

/** @param {DragEvent} event @param {string} metric */
export function dragStart(event, metric) {
  event.dataTransfer?.setData("text/metric", metric);
}

/** A chart dropped on another takes the place before it, in the section at the top. @param {DragEvent} event @param {string} metric @param {View} view @param {Change} change */
export function dropped(event, metric, view, change) {
  const dragged = event.dataTransfer?.getData("text/metric");
  if (!dragged || dragged === metric) return;
  event.preventDefault();
  const rest = view.top.filter((one) => one !== dragged);
  const at = rest.indexOf(metric);
  change({ top: at < 0 ? [...rest, dragged] : [...rest.slice(0, at), dragged, ...rest.slice(at)] });
}
