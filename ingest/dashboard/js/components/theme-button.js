/** Light, dark, or as the system has it. */
import { html, useState } from "../lib.js";
import { Icon } from "./icons.js";

const ORDER = /** @type {const} */ (["auto", "light", "dark"]);
const ICONS = /** @type {const} */ ({ auto: "auto", light: "sun", dark: "moon" });

/** @returns {"auto" | "light" | "dark"} */
function chosen() {
  try {
    return ORDER.find((one) => one === localStorage.getItem("ingest.theme")) ?? "auto";
  } catch {
    return "auto";
  }
}

export function ThemeButton() {
  const [choice, setChoice] = useState(chosen());
  const next = () => {
    const to = ORDER[(ORDER.indexOf(choice) + 1) % ORDER.length];
    try {
      localStorage.setItem("ingest.theme", to);
    } catch {
      return; // without storage the system decides
    }
    setChoice(to);
    dispatchEvent(new CustomEvent("theme-chosen"));
  };
  return html`<button class="icon-button" title=${`Theme: ${choice}`} aria-label=${`Theme: ${choice}`} onClick=${next}><${Icon} name=${ICONS[choice]} /></button>`;
}
