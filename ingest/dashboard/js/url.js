/**
 * The view's state lives in the URL, all of it: a link shows somebody else the same, and back and forward undo.
 *
 * A page describes its state by a codec, one field for each name in the query string:
 *
 *     const VIEW = { filter: text(), limit: integer(100), runs: list(), x: choice(["step", "time"]) };
 *     const [view, change] = useView(VIEW);
 *     change({ filter: "metrics.loss < 1" });             // a new entry of the history
 *     change({ limit: 50 }, { replace: true });           // not one, as while typing or dragging
 *
 * What equals its fallback is left out of the URL. Names that the codec does not know are left alone.
 */
import { useCallback, useMemo } from "./lib.js";
import { createStore, useStore } from "./store.js";

/**
 * @template T
 * @typedef {{fallback: T, read: (texts: string[]) => T, write: (value: T) => string[]}} Field
 */
/** @typedef {Record<string, Field<any>>} Codec */
/**
 * @template {Codec} C
 * @typedef {{[name in keyof C]: C[name]["fallback"]}} View
 */

/** @returns {Field<string>} */
export const text = (fallback = "") => ({ fallback, read: ([one]) => one, write: (value) => [value] });

/** @returns {Field<number>} */
export const integer = (fallback = 0) => ({
  fallback,
  read: ([one]) => (/^-?\d{1,15}$/.test(one) ? Number(one) : fallback),
  write: (value) => [String(value)],
});

/** A number, or null for none. @param {number | null} fallback @returns {Field<number | null>} */
export const number = (fallback = null) => ({
  fallback,
  read: ([one]) => (one.trim() !== "" && Number.isFinite(Number(one)) ? Number(one) : fallback),
  write: (value) => [String(value)],
});

/** @returns {Field<boolean>} */
export const flag = (fallback = false) => ({ fallback, read: ([one]) => one === "1", write: (value) => [value ? "1" : "0"] });

/**
 * @template {string} T
 * @param {readonly T[]} options the first is the fallback
 * @returns {Field<T>}
 */
export const choice = (options) => ({
  fallback: options[0],
  read: ([one]) => options.find((option) => option === one) ?? options[0],
  write: (value) => [value],
});

/** Texts of any kind; the name is repeated for each. @returns {Field<string[]>} */
export const list = (/** @type {string[]} */ fallback = []) => ({
  fallback,
  read: (texts) => (texts.length === 1 && texts[0] === "" ? [] : texts),
  write: (value) => (value.length ? value : [""]),
});

/** A map of texts, such as colours by run: `name:value` for each. @returns {Field<Record<string, string>>} */
export const map = () => ({
  fallback: {},
  read: (texts) => Object.fromEntries(texts.filter((one) => one.includes(":")).map((one) => split(one))),
  write: (value) => Object.entries(value).map(([name, one]) => `${encodeURIComponent(name)}:${one}`),
});

/** @param {string} one @returns {[string, string]} */
function split(one) {
  const colon = one.indexOf(":");
  return [safelyDecoded(one.slice(0, colon)), one.slice(colon + 1)];
}

/** @param {string} one */
export function safelyDecoded(one) {
  try {
    return decodeURIComponent(one);
  } catch {
    return one; // somebody cut the link
  }
}

/**
 * @template {Codec} C
 * @param {C} codec
 * @param {string} search
 * @returns {View<C>}
 */
export function readView(codec, search) {
  const given = new URLSearchParams(search);
  /** @type {any} */
  const view = {};
  for (const [name, field] of Object.entries(codec)) view[name] = given.has(name) ? field.read(given.getAll(name)) : field.fallback;
  return view;
}

/**
 * The query string with these values in place of its own.
 * @template {Codec} C
 * @param {C} codec
 * @param {string} search
 * @param {Partial<View<C>>} changes
 */
export function writeView(codec, search, changes) {
  const result = new URLSearchParams(search);
  for (const [name, value] of Object.entries(changes)) {
    const field = codec[name];
    result.delete(name);
    const texts = field.write(value);
    if (texts.join("\n") !== field.write(field.fallback).join("\n")) texts.forEach((one) => result.append(name, one));
  }
  const written = result.toString().replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%2C", ",");
  return written ? `?${written}` : "";
}

// --- where we are ----------------------------------------------------------------------------------------------------

const here = createStore(location.pathname + location.search);
addEventListener("popstate", () => here.set(location.pathname + location.search));

/** @param {string} to path with query string @param {{replace?: boolean}} [how] */
export function navigate(to, { replace = false } = {}) {
  if (to === here.get()) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  here.set(location.pathname + location.search);
}

/** @returns {{path: string, search: string}} */
export function useAddress() {
  const [path, search = ""] = useStore(here).split(/(?=\?)/);
  return { path, search };
}

/**
 * The view's state, and what changes it.
 * @template {Codec} C
 * @param {C} codec
 * @returns {[View<C>, (changes: Partial<View<C>>, how?: {replace?: boolean}) => void]}
 */
export function useView(codec) {
  const { search } = useAddress();
  const view = useMemo(() => readView(codec, search), [codec, search]);
  const change = useCallback(
    (/** @type {Partial<View<C>>} */ changes, /** @type {{replace?: boolean} | undefined} */ how = undefined) =>
      navigate(location.pathname + writeView(codec, location.search, changes), how),
    [codec],
  );
  return [view, change];
}
