/** What a chart shows, as a file: PNG of its canvas, SVG drawn from its curves, CSV of its columns. */
import { save, saveCsv } from "../components/save.js";
import { formatShort, formatValue } from "../format.js";

/** @typedef {import("./plot.js").Drawn} Drawn */

/** @param {HTMLCanvasElement} canvas of the plot @param {string} title @param {Drawn[]} drawn */
export function savePng(canvas, title, drawn) {
  const style = getComputedStyle(document.documentElement);
  const scale = devicePixelRatio;
  const head = 34 * scale;
  const foot = (10 + 18 * drawn.length) * scale;
  const whole = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height + head + foot });
  const pen = /** @type {CanvasRenderingContext2D} */ (whole.getContext("2d"));
  pen.fillStyle = style.getPropertyValue("--surface");
  pen.fillRect(0, 0, whole.width, whole.height);
  pen.fillStyle = style.getPropertyValue("--ink");
  pen.font = `600 ${14 * scale}px sans-serif`;
  pen.fillText(title, 14 * scale, 22 * scale);
  pen.drawImage(canvas, 0, head);
  pen.font = `${11 * scale}px sans-serif`;
  drawn.forEach(({ label, colour, curve }, i) => {
    const y = head + canvas.height + (16 + 18 * i) * scale;
    pen.fillStyle = colour;
    pen.fillRect(14 * scale, y - 5 * scale, 14 * scale, 3 * scale);
    pen.fillStyle = style.getPropertyValue("--ink-2");
    pen.fillText(`${label}  ${curve.line.told}`, 34 * scale, y);
  });
  whole.toBlob((blob) => blob && save(blob, `${title}.png`));
}

/** @param {string} text */
const escaped = (text) => text.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);

/** @param {ReturnType<typeof import("./plot.js").createPlot>["plot"]} plot @param {string} title @param {Drawn[]} drawn */
export function saveSvg(plot, title, drawn) {
  const { left, top, width, height } = { left: 60, top: 40, width: 800, height: 400 };
  const [x, y] = [plot.scales.x, plot.scales.y];
  /** @param {number} value @param {any} scale */
  const share = (value, scale) => {
    const f = scale.distr === 3 ? Math.log10 : Number;
    return (f(value) - f(scale.min)) / (f(scale.max) - f(scale.min));
  };
  /** @param {number} value */ const atX = (value) => (left + share(value, x) * width).toFixed(2);
  /** @param {number} value */ const atY = (value) => (top + height - share(value, y) * height).toFixed(2);
  /** @param {ArrayLike<number>} xs @param {(number | null)[]} ys */
  const path = (xs, ys) => {
    let pen = "M";
    let text = "";
    ys.forEach((value, i) => {
      if (value === null) return void (pen = "M");
      text += `${pen}${atX(xs[i])} ${atY(value)}`;
      pen = "L";
    });
    return text;
  };
  const ticks = (/** @type {number} */ axis) => /** @type {any} */ (plot.axes[axis])._splits ?? [];
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="880" height="${top + height + 40 + 18 * drawn.length}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="#fff"/><text x="${left}" y="24" font-size="15" font-weight="600">${escaped(title)}</text>`,
    `<clipPath id="plot"><rect x="${left}" y="${top}" width="${width}" height="${height}"/></clipPath>`,
    ...ticks(0).filter(Number.isFinite).map((/** @type {number} */ tick) => `<path d="M${atX(tick)} ${top}v${height}" stroke="#e6e6e2"/><text x="${atX(tick)}" y="${top + height + 15}" text-anchor="middle" fill="#555">${formatShort(tick)}</text>`),
    ...ticks(1).filter(Number.isFinite).map((/** @type {number} */ tick) => `<path d="M${left} ${atY(tick)}h${width}" stroke="#e6e6e2"/><text x="${left - 6}" y="${Number(atY(tick)) + 4}" text-anchor="end" fill="#555">${formatValue(tick)}</text>`),
    '<g clip-path="url(#plot)" fill="none">',
    ...drawn.flatMap(({ curve, colour }) => [
      ...(curve.low && curve.high ? [`<path d="${path(curve.x, curve.high)}${path(Array.from(curve.x).reverse(), [...curve.low].reverse()).replace("M", "L")}Z" fill="${colour}" fill-opacity="0.16"/>`] : []),
      `<path d="${path(curve.x, curve.y)}" stroke="${colour}" stroke-width="1.5" stroke-opacity="${curve.smooth ? 0.3 : 1}"/>`,
      ...(curve.smooth ? [`<path d="${path(curve.x, curve.smooth)}" stroke="${colour}" stroke-width="1.75"/>`] : []),
    ]),
    "</g>",
    ...drawn.map(({ label, colour, curve }, i) => `<rect x="${left}" y="${top + height + 30 + 18 * i}" width="14" height="3" fill="${colour}"/><text x="${left + 20}" y="${top + height + 35 + 18 * i}" fill="#333">${escaped(label)}  ${escaped(curve.line.told)}</text>`),
    "</svg>",
  ];
  save(new Blob([parts.join("\n")], { type: "image/svg+xml" }), `${title}.svg`);
}

/** The columns as they came, one row for each bucket or point. @param {string} title @param {Drawn[]} drawn */
export function saveColumns(title, drawn) {
  const names = [...new Set(drawn.flatMap(({ curve }) => Object.keys(curve.line.columns)))];
  /** @type {any[][]} */ const rows = [["run", "id", ...names]];
  for (const { label, curve: { line } } of drawn) {
    const size = Object.values(line.columns)[0]?.length ?? 0;
    for (let i = 0; i < size; i++) rows.push([label, line.id, ...names.map((name) => line.columns[name]?.[i])]);
  }
  saveCsv(`${title}.csv`, rows);
}
