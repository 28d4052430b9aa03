// Colours and sizes: what Python shares in theme.json, and what the host's theme says through theme.css.
import shared from "../../theme.json";

export const CATEGORIES: readonly string[] = shared.categories;
export const DASHES: readonly (readonly number[])[] = shared.dashes;
/** Ten that can be told apart also where they touch. */
export const CLASSES: readonly string[] = shared.classes;
export const UNKNOWN: string = shared.unknown;
/** The colours of what sums to more than one, and to less. */
export const [MORE, LESS] = [shared.more, shared.less];
export const SHADES = 64;

export interface Theme {
  ink: string;
  faint: string;
  ground: string;
  accent: string;
  lit: string;
  font: string;
  size: number;
  /** The colour of the weights in W: light on dark, dark on light. */
  weights: [number, number, number];
}

export function readTheme(root: Element): Theme {
  const style = getComputedStyle(root);
  const of = (name: string) => style.getPropertyValue(`--ifog-${name}`).trim();
  return {
    ink: of("ink"),
    faint: of("faint"),
    ground: of("ground"),
    accent: of("accent"),
    lit: of("lit"),
    font: style.fontFamily,
    size: parseFloat(style.fontSize),
    weights: dark(of("ground")) ? [86, 180, 233] : [0, 114, 178],
  };
}

function dark(colour: string): boolean {
  const context = document.createElement("canvas").getContext("2d")!;
  context.fillStyle = colour || "#fff"; // which it gives back as #rrggbb, however it was written
  const [r, g, b] = channels(context.fillStyle);
  return 0.3 * r + 0.59 * g + 0.11 * b < 128;
}

/** Call back when the host switches between light and dark; returns how to end that. */
export function watchTheme(changed: () => void): () => void {
  const later = () => requestAnimationFrame(changed); // the host's styles follow its attribute
  const observer = new MutationObserver(later);
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"] });
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", later);
  return () => {
    observer.disconnect();
    system.removeEventListener("change", later);
  };
}

export function calm(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

function channels(colour: string): [number, number, number] {
  return [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16)) as [number, number, number];
}

/** Viridis in so many shades, as numbers and as CSS. */
export const VIRIDIS_RGB: readonly [number, number, number][] = Array.from({ length: SHADES }, (_, k) => {
  const at = (k / (SHADES - 1)) * (shared.viridis.length - 1);
  const left = Math.min(Math.floor(at), shared.viridis.length - 2);
  const [from, to] = [channels(shared.viridis[left]), channels(shared.viridis[left + 1])];
  return from.map((value, c) => Math.round(value + (to[c] - value) * (at - left))) as [number, number, number];
});
export const VIRIDIS: readonly string[] = VIRIDIS_RGB.map(([r, g, b]) => `rgb(${r} ${g} ${b})`);
/** The shade of a share from 0 to 1. */
export function viridis(share: number): string {
  return VIRIDIS[Math.round(share * (SHADES - 1))];
}
export const UNKNOWN_RGB = channels(UNKNOWN);

/** Which shade a value has; −1 if it is no number. */
export function shade(value: number, low: number, high: number): number {
  if (!Number.isFinite(value)) return -1;
  const share = high > low ? (value - low) / (high - low) : 0;
  return Math.max(0, Math.min(SHADES - 1, Math.floor(share * SHADES)));
}

/** A number as short as one can read it. */
export function short(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const text = Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(2) : String(+value.toPrecision(4));
  return text.replace("-", "−");
}
