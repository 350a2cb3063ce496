/** Menus that open below a button: arrow keys, Home and End, Escape, a click elsewhere. Items may be headings or carry a check mark. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib.js";
import { Icon } from "./icons.js";

/**
 * @typedef {object} MenuItem
 * @property {string} label
 * @property {() => void} [run] none: a heading
 * @property {import("./icons.js").IconName} [icon]
 * @property {boolean} [checked]
 * @property {boolean} [danger]
 * @property {boolean} [disabled]
 */

/** @param {{label: any, items: MenuItem[] | (() => MenuItem[]), icon?: import("./icons.js").IconName, title?: string, className?: string, align?: "left" | "right", keepOpen?: boolean}} props */
export function Menu({ label, items, icon, title, className = "", align = "left", keepOpen = false }) {
  return html`
    <${Popover} label=${label} icon=${icon} title=${title} className=${className} align=${align} role="menu">
      ${(/** @type {() => void} */ close) =>
        (typeof items === "function" ? items() : items).map((item) =>
          item.run
            ? html`<button role=${item.checked === undefined ? "menuitem" : "menuitemcheckbox"} aria-checked=${item.checked} class=${item.danger ? "danger" : ""}
                disabled=${item.disabled} onClick=${() => (keepOpen || close(), item.run?.())}>
                ${item.checked === undefined ? (item.icon ? html`<${Icon} name=${item.icon} />` : null) : html`<span class="tick">${item.checked ? html`<${Icon} name="check" />` : null}</span>`}
                ${item.label}
              </button>`
            : html`<div class="menu-heading" role="presentation">${item.label}</div>`,
        )}
    </${Popover}>`;
}

/**
 * A button and what it opens. The content is a function of `close`.
 * @param {{label: any, icon?: import("./icons.js").IconName, title?: string, className?: string, align?: "left" | "right", role?: string, children?: any, onToggle?: (isOpen: boolean) => void}} props
 */
export function Popover({ label, icon, title, className = "", align = "left", role = "dialog", children, onToggle }) {
  const [isOpen, setOpen] = useState(false);
  const root = useRef(/** @type {HTMLDivElement | null} */ (null));
  const panel = useRef(/** @type {HTMLDivElement | null} */ (null));
  /** @param {boolean} next */
  const toggle = (next) => (setOpen(next), onToggle?.(next));
  const close = () => {
    toggle(false);
    root.current?.querySelector("button")?.focus();
  };
  useLayoutEffect(() => {
    const box = panel.current;
    if (!isOpen || !box) return;
    place(/** @type {HTMLElement} */ (root.current), box, align);
    const first = /** @type {HTMLElement | null} */ (box.querySelector("input, [autofocus]")) ?? focusable(box)[0];
    first?.focus({ preventScroll: true });
  }, [isOpen]);
  useEffect(() => {
    if (!isOpen) return;
    /** @param {Event} event */
    const outside = (event) => root.current?.contains(/** @type {Node} */ (event.target)) || toggle(false);
    addEventListener("pointerdown", outside, true);
    addEventListener("resize", close);
    return () => (removeEventListener("pointerdown", outside, true), removeEventListener("resize", close));
  }, [isOpen]);
  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    if (event.key === "Escape") return void (event.stopPropagation(), close());
    if (role === "menu" && panel.current) moveFocus(event, focusable(panel.current));
  };
  return html`
    <div class="popover" ref=${root} onKeyDown=${isOpen ? onKey : undefined}>
      <button type="button" class=${className} aria-haspopup=${role} aria-expanded=${isOpen} title=${title} aria-label=${title && !label ? title : undefined} onClick=${() => (isOpen ? close() : toggle(true))}>
        ${icon ? html`<${Icon} name=${icon} />` : null}${label}
      </button>
      ${isOpen ? html`<div class="panel" role=${role} aria-label=${title ?? (typeof label === "string" ? label : undefined)} ref=${panel}>${typeof children === "function" ? children(close) : children}</div>` : null}
    </div>`;
}

/** Below the button, inside the window; position: fixed, so no scrolling box cuts it. @param {HTMLElement} root @param {HTMLElement} box @param {string} align */
function place(root, box, align) {
  const button = root.getBoundingClientRect();
  const { width, height } = box.getBoundingClientRect();
  const left = align === "right" ? button.right - width : button.left;
  const below = button.bottom + 4;
  const top = below + height > innerHeight - 8 && button.top > height ? button.top - height - 4 : below;
  box.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  box.style.top = `${top}px`;
  box.style.maxHeight = `${Math.max(160, innerHeight - top - 12)}px`;
}

/** @param {HTMLElement} box @returns {HTMLElement[]} */
const focusable = (box) => [...box.querySelectorAll("button:not([disabled]), input, select, a[href], textarea")].map((one) => /** @type {HTMLElement} */ (one));

/** @param {KeyboardEvent} event @param {HTMLElement[]} items */
function moveFocus(event, items) {
  const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  items.at(to % items.length)?.focus();
}
