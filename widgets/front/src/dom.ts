// Small pieces of a page.

type Attributes = Record<string, string | boolean>;

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

export function button(text: string | Node, label: string, pressed: () => void): HTMLButtonElement {
  const made = make("button", { type: "button", "aria-label": label, title: label }, text);
  made.addEventListener("click", pressed);
  return made;
}

const ICONS = {
  play: "M4 2.5v11l9-5.5z",
  pause: "M4 2.5h3v11H4zM9 2.5h3v11H9z",
  step: "M3 2.5v11l7-5.5zM11 2.5h2v11h-2z",
  stop: "M3 3h10v10H3z",
  reset: "M8 2a6 6 0 1 1-5.7 4.1l1.6.5A4.3 4.3 0 1 0 8 3.7V6L4.4 3 8 0z",
  fit: "M2 6V2h4v1.6H3.6V6zM10 2h4v4h-1.6V3.6H10zM2 10h1.6v2.4H6V14H2zM12.4 10H14v4h-4v-1.6h2.4z",
  square: "M3 3h10v10H3z",
  again: "M8 2a6 6 0 1 0 5.7 7.9l-1.6-.5A4.3 4.3 0 1 1 8 3.7c1.1 0 2.1.4 2.9 1.1L9 6.7h5V1.8l-1.9 1.8A6 6 0 0 0 8 2z",
  cross: "M3.2 2 8 6.8 12.8 2 14 3.2 9.2 8l4.8 4.8-1.2 1.2L8 9.2 3.2 14 2 12.8 6.8 8 2 3.2z",
  ring: "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2zM8 4a4 4 0 1 1 0 8 4 4 0 1 1 0-8z",
  dot: "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2z",
  flake: "M7.3 9.5 7.3 15.6 8.7 15.6 8.7 9.5zM6.4 8.1 1.1 11.2 1.8 12.4 7.1 9.4zM7.1 6.6 1.8 3.6 1.1 4.8 6.4 7.9zM8.7 6.5 8.7 0.4 7.3 0.4 7.3 6.5zM9.6 7.9 14.9 4.8 14.2 3.6 8.9 6.6zM8.9 9.4 14.2 12.4 14.9 11.2 9.6 8.1z",
  sand: "M3 1h10v2L9.2 8 13 13v2H3v-2l3.8-5L3 3z",
  question: "M5 5.5A3 3 0 0 1 8 2.5a3 3 0 0 1 1 5.8V10H7V7h1a1.2 1.2 0 1 0-1.2-1.5zM7 11.5h2v2H7z",
};

/** A part of an SVG. */
export function shape<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | number>,
  ...children: (Node | string)[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** A small picture for a button: drawn here, because not every machine has a letter for it. */
export function icon(name: keyof typeof ICONS): SVGSVGElement {
  const path = shape("path", { d: ICONS[name] });
  return shape("svg", { viewBox: "0 0 16 16", "aria-hidden": "true", "fill-rule": "evenodd" }, path);
}

export function select(label: string, options: readonly string[], chosen: (value: string) => void): HTMLSelectElement {
  const made = make("select", { "aria-label": label, title: label }, ...options.map((value) => make("option", { value }, value)));
  made.addEventListener("change", () => chosen(made.value));
  return made;
}

/** What can be chosen, and what is: written only if it is something else, so that an open list stays open. */
export function options(target: HTMLSelectElement, names: readonly string[], chosen: string): void {
  if ([...target.options].map((option) => option.value).join() !== names.join()) {
    target.replaceChildren(...names.map((value) => make("option", { value }, value)));
  }
  if (target.value !== chosen) target.value = chosen;
}

/** The options of a drop-down, unless they are there already; those that do not fit say why. */
export function fill(target: HTMLSelectElement, options: readonly (string | { name: string; unfit: string })[], chosen: string): void {
  const named = options.map((option) => (typeof option === "string" ? { name: option, unfit: "" } : option));
  const wanted = named.map(({ name, unfit }) => name + (unfit ? "!" : "")).join();
  if (target.dataset.made !== wanted) {
    target.replaceChildren(...named.map(({ name, unfit }) => make("option", { value: name, title: unfit }, unfit ? `${name} — does not fit` : name)));
    target.dataset.made = wanted;
  }
  if (target.value !== chosen) target.value = chosen;
}

/** A canvas as sharp as the screen, whose size follows its box. */
export class Sheet {
  readonly canvas: HTMLCanvasElement;
  readonly context: CanvasRenderingContext2D;
  width = 0;
  height = 0;
  ratio = 1;
  private readonly observer: ResizeObserver;

  constructor(
    readonly box: HTMLElement,
    resized: () => void,
    attributes: Attributes,
  ) {
    this.canvas = make("canvas", attributes);
    this.context = this.canvas.getContext("2d")!;
    box.append(this.canvas);
    this.observer = new ResizeObserver(() => {
      if (this.measure()) resized();
    });
    this.observer.observe(box);
    this.measure();
  }

  private measure(): boolean {
    const { clientWidth, clientHeight } = this.box;
    const ratio = window.devicePixelRatio || 1;
    if (clientWidth === this.width && clientHeight === this.height && ratio === this.ratio) return false;
    [this.width, this.height, this.ratio] = [clientWidth, clientHeight, ratio];
    [this.canvas.width, this.canvas.height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    Object.assign(this.canvas.style, { width: `${clientWidth}px`, height: `${clientHeight}px` });
    return true;
  }

  close(): void {
    this.observer.disconnect();
  }
}

/** At most one call for each frame of the screen. */
export class Frames {
  private asked = 0;
  constructor(private readonly draw: (now: number) => void) {}

  ask(): void {
    this.asked ||= requestAnimationFrame((now) => {
      this.asked = 0;
      this.draw(now);
    });
  }

  close(): void {
    cancelAnimationFrame(this.asked);
  }
}
