// Messages to and from Python: what they hold stands in messages.ts.
import { ARRAYS, type FromThePage, type ToThePage } from "./messages";
import { steady } from "./steady";

/** What anywidget hands to a page. */
export interface Model {
  get(name: string): unknown;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
  send(content: unknown): void;
}

interface Packed {
  content: { type: string };
  buffers: DataView[];
}

export function unpack(content: { type: string }, buffers: readonly DataView[]): ToThePage | null {
  const kinds = (ARRAYS as Record<string, Record<string, new (buffer: ArrayBuffer) => unknown>>)[content.type];
  if (!kinds) return null;
  const message: Record<string, unknown> = { ...content };
  Object.entries(kinds).forEach(([name, kind], i) => {
    const view = buffers[i];
    // copied, because a typed array must begin at a multiple of its numbers' size, and a part of a message may not
    message[name] = new kind((view.buffer as ArrayBuffer).slice(view.byteOffset, view.byteOffset + view.byteLength));
  });
  return message as unknown as ToThePage;
}

/** Hear every message, beginning with those that stood in the model when the page opened. */
function listen(model: Model, hear: (message: ToThePage) => void): void {
  const take = (content: { type: string }, buffers: DataView[]) => {
    const message = unpack(content, buffers ?? []);
    if (message) hear(message);
  };
  for (const { content, buffers } of (model.get("_start") as Packed[] | null) ?? []) take(content, buffers);
  model.on("msg:custom", take as never);
}

function say(model: Model, message: FromThePage): void {
  model.send(message);
}

/** This page, among all in which the notebook is open. */
const PAGE = Math.random().toString(36).slice(2);

/** Tells Python whether anybody looks, and whether somebody has the pointer or the keyboard on a view. */
class Audience {
  private readonly views = new Set<HTMLElement>();
  private readonly holding = new Set<HTMLElement>();

  constructor(private readonly model: Model) {
    // a tab that is closed, or behind others, shows nothing
    document.addEventListener("visibilitychange", () => {
      if (this.views.size > 0) this.tell();
    });
  }

  /** A view has opened; returns what to call when it closes. */
  join(view: HTMLElement): () => void {
    const update = () => {
      const held = view.matches(":hover, :focus-within");
      if (held === this.holding.has(view)) return;
      if (held) this.holding.add(view);
      else this.holding.delete(view);
      this.tell();
    };
    const events = ["pointerenter", "pointerleave", "focusin", "focusout"];
    const later = () => setTimeout(update); // the focus is nowhere while it moves on
    for (const event of events) view.addEventListener(event, later);
    this.views.add(view);
    this.tell();
    // JupyterLab takes views out of the page without closing them, and may put them back
    const observer = new ResizeObserver(() => {
      if (view.isConnected === this.views.has(view)) return;
      if (view.isConnected) this.views.add(view);
      else this.forget(view);
      this.tell();
    });
    observer.observe(view);
    return () => {
      for (const event of events) view.removeEventListener(event, later);
      observer.disconnect();
      this.forget(view);
      this.tell();
    };
  }

  private forget(view: HTMLElement): void {
    this.views.delete(view);
    this.holding.delete(view);
  }

  private tell(): void {
    const hidden = document.visibilityState === "hidden";
    say(this.model, { type: "watched", views: hidden ? 0 : this.views.size, held: this.holding.size > 0 && !hidden, page: PAGE });
  }
}

interface State {
  take(message: ToThePage): void;
}

interface View {
  close(): void;
}

/** Plain keys belong to what has the focus: else JupyterLab takes the arrows from sliders, and letters for its commands. */
function typing(view: HTMLElement): () => void {
  const hear = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    const command = event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");
    if (view.contains(target)) target.toggleAttribute("data-lm-suppress-shortcuts", !command);
  };
  window.addEventListener("keydown", hear, true); // before JupyterLab hears it
  return () => window.removeEventListener("keydown", hear, true);
}

/**
 * A widget as anywidget wants it. What is shown belongs to the model, so that all its views show the same, and one that comes
 * back goes on.
 */
export function shared<S extends State>(
  begin: () => S,
  open: (state: S, say: (message: FromThePage) => void, el: HTMLElement, presentation: boolean) => View,
): { initialize(context: { model: Model }): void; render(context: { model: Model; el: HTMLElement }): () => void } {
  // each view gets a model object of its own, but what is in it is one
  const states = new WeakMap<object, { state: S; audience: Audience }>();
  const key = (model: Model) => model.get("_start") as object;
  return {
    initialize({ model }) {
      const state = begin();
      states.set(key(model), { state, audience: new Audience(model) });
      listen(model, (message) => state.take(message));
    },
    render({ model, el }) {
      const { state, audience } = states.get(key(model))!;
      const view = open(state, (message) => say(model, message), el, Boolean(model.get("presentation")));
      const [leave, release, free] = [audience.join(el), steady(el), typing(el)];
      return () => {
        free();
        view.close();
        leave();
        release();
      };
    },
  };
}
