/** Which metrics a search means: a piece of the key, a glob over all of it, or a /regular expression/; as the service reads it. Pure. */

/**
 * @param {string} pattern
 * @returns {{test: (key: string) => boolean, problem?: string}}
 */
export function keyMatcher(pattern) {
  const wanted = pattern.trim();
  if (!wanted) return { test: () => true };
  if (wanted.length > 2 && wanted.startsWith("/") && wanted.endsWith("/")) {
    try {
      const expression = new RegExp(wanted.slice(1, -1), "u");
      return { test: (key) => expression.test(key) };
    } catch (error) {
      return { test: () => false, problem: String(error instanceof Error ? error.message : error) };
    }
  }
  if (/[*?]/.test(wanted)) {
    const escaped = wanted.replace(/[\\^$.|+()[\]{}]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".");
    const glob = new RegExp(`^${escaped}$`, "isu");
    return { test: (key) => glob.test(key) };
  }
  const piece = wanted.toLowerCase();
  return { test: (key) => key.toLowerCase().includes(piece) };
}

/** The section of a metric: what stands before its last slash; none without a slash. @param {string} key */
export function sectionOf(key) {
  const slash = key.indexOf("/");
  return slash > 0 ? key.slice(0, slash) : "";
}

/**
 * Metrics by section, in order; those without a prefix first, the machine's own last.
 * @param {string[]} keys
 * @returns {{name: string, keys: string[]}[]}
 */
export function sectionsOf(keys) {
  /** @type {Map<string, string[]>} */
  const sections = new Map();
  for (const key of keys) {
    const name = sectionOf(key);
    const section = sections.get(name);
    if (section) section.push(key);
    else sections.set(name, [key]);
  }
  /** @param {string} name */
  const rank = (name) => (name === "" ? 0 : name === "system" ? 2 : 1);
  return [...sections].map(([name, own]) => ({ name, keys: own })).sort((a, b) => rank(a.name) - rank(b.name) || (a.name < b.name ? -1 : 1));
}
