/** How wide an element is, again whenever that changes. */
import { useLayoutEffect, useState } from "../lib.js";

/** @param {{current: HTMLElement | null}} box @returns {number} 0 before it is there */
export function useWidth(box) {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const measure = () => setWidth(Math.floor(element.clientWidth));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return width;
}
