/**
 * The pages: address, name, module. A page's module is loaded when it is first looked at and exports its component as default;
 * the component gets the address's parts: `/runs/:runId` gives `{runId}`. The service knows the same addresses (ingest/web/dashboard.py).
 *
 * @typedef {object} PageEntry
 * @property {string} path
 * @property {string} title
 * @property {() => Promise<{default: (params: any) => any}>} load
 * @property {{label: string, key: string}} [nav] its place in the bar at the top; key: pressed after `g`
 */

/** @type {PageEntry[]} */
export const PAGES = [
  { path: "/", title: "Experiments", load: () => import("./pages/experiments.js") },
  { path: "/experiments", title: "Experiments", load: () => import("./pages/experiments.js"), nav: { label: "Experiments", key: "e" } },
  { path: "/experiments/:experimentId", title: "Runs", load: () => import("./pages/runs.js") },
  { path: "/runs", title: "All runs", load: () => import("./pages/runs.js"), nav: { label: "Runs", key: "r" } },
  { path: "/runs/:runId", title: "Run", load: () => import("./pages/run.js") },
  { path: "/compare", title: "Compare", load: () => import("./pages/compare.js") },
  { path: "/models", title: "Models", load: () => import("./pages/models.js"), nav: { label: "Models", key: "m" } },
  { path: "/models/:model", title: "Model", load: () => import("./pages/model.js") },
  { path: "/sql", title: "SQL", load: () => import("./pages/sql.js"), nav: { label: "SQL", key: "s" } },
  { path: "/operations", title: "Operations", load: () => import("./pages/operations.js"), nav: { label: "Operations", key: "o" } },
  { path: "/login", title: "Log in", load: () => import("./pages/login.js") },
];
