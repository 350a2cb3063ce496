/** Files that the page itself makes, handed to the browser to keep. */

/** @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\w.-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** @param {string} name @param {any[][]} rows the first holds the columns' names */
export function saveCsv(name, rows) {
  save(new Blob([rows.map((row) => row.map(csvText).join(",") + "\n").join("")], { type: "text/csv" }), name);
}

/** @param {any} value */
function csvText(value) {
  const written = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  return /[",\r\n]/.test(written) ? `"${written.replaceAll('"', '""')}"` : written;
}
