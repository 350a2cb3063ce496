// Light or dark, before anything is painted: a plain script, since modules run later. `auto` follows the system.
"use strict";
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem("ingest.theme") ?? "auto";
    } catch {
      return "auto"; // storage is switched off
    }
  };
  const apply = () => {
    const choice = chosen();
    const theme = choice === "auto" ? (system.matches ? "dark" : "light") : choice;
    if (root.dataset.theme === theme) return;
    root.dataset.theme = theme;
    dispatchEvent(new CustomEvent("theme", { detail: theme }));
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", apply); // another tab chose
  addEventListener("theme-chosen", apply);
})();
