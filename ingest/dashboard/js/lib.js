/**
 * The one place that names the component library: Preact for components, htm for their markup in template strings.
 *
 * Chosen over lit for hooks (state of charts and tables is functions over data, not classes of elements) and for 5 kB.
 */
import { h } from "preact";
import htm from "htm";

/** @type {(strings: TemplateStringsArray, ...values: any[]) => any} */
export const html = htm.bind(h);

export { render } from "preact";
export { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
