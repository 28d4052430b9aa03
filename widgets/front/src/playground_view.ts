// One view of a playground: the controls, and the picture below them.
import { button, icon, make, select } from "./dom";
import type { FromThePage } from "./messages";
import type { Handle, PlaygroundState } from "./playground_state";

const PACE = 260; // milliseconds between two steps of what runs by itself

interface Control {
  show(at: number): void;
}

/** What the pointer holds, and how far from its middle. */
interface Held {
  handle: Handle;
  off: number;
  pointer: number;
}

export class PlaygroundView {
  private readonly root = make("div", { class: "ifog ifog-playground", role: "group" });
  private readonly bar = make("div", { class: "ifog-bar" });
  private readonly picture = make("div", { class: "ifog-picture" });
  private readonly run = button(icon("play"), "play", () => this.state.togglePlay());
  private controls: Control[] = [];
  private held: Held | null = null;
  private drawn = "";
  private timer: ReturnType<typeof setInterval> | undefined;
  private readonly end: () => void;

  constructor(
    private readonly state: PlaygroundState,
    private readonly send: (message: FromThePage) => void,
    parent: HTMLElement,
    presentation: boolean,
  ) {
    this.root.classList.toggle("presentation", state.larger ?? presentation);
    this.root.append(this.bar, this.picture);
    parent.append(this.root);
    // the picture is drawn anew under the hand, so what hears of it is the box around it
    this.picture.addEventListener("pointerdown", (event) => this.grab(event));
    this.picture.addEventListener("pointermove", (event) => this.drag(event));
    this.picture.addEventListener("lostpointercapture", () => (this.held = null));
    // a finger that drags does not scroll the page; touch-action would say so, but not inside an SVG
    this.picture.addEventListener("touchstart", (event) => this.held && event.preventDefault(), { passive: false });
    this.end = state.subscribe(() => this.update());
    this.update();
  }

  close(): void {
    clearInterval(this.timer);
    this.end();
    this.root.remove();
  }

  private update(): void {
    const { state } = this;
    if (this.controls.length !== state.knobs.length) this.build();
    this.controls.forEach((control, k) => control.show(state.at[k] ?? 0));
    this.run.hidden = state.play < 0;
    this.run.replaceChildren(icon(state.playing ? "pause" : "play"));
    this.run.setAttribute("aria-pressed", String(state.playing));
    if (state.playing && this.timer === undefined) this.timer = setInterval(() => state.step(), PACE);
    if (!state.playing) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
    this.draw();
    const message = state.message();
    if (message) this.send(message);
  }

  private grab(event: PointerEvent): void {
    const part = (event.target as Element).closest<SVGElement>("[data-drag]");
    const handle = part && this.state.handle(part.dataset);
    if (!handle || event.button !== 0 || this.held) return;
    event.preventDefault(); // else it would begin to select text
    const box = part.getBoundingClientRect();
    this.held = { handle, off: event.clientY - (box.top + box.bottom) / 2, pointer: event.pointerId };
    // nothing is drawn anew before it moves: what a finger has touched must still be there to hear of it
    this.picture.setPointerCapture(event.pointerId);
  }

  private drag(event: PointerEvent): void {
    const svg = this.picture.querySelector("svg");
    const onto = svg?.getScreenCTM()?.inverse();
    if (!this.held || this.held.pointer !== event.pointerId || !onto) return;
    this.state.drag(this.held.handle, new DOMPoint(event.clientX, event.clientY - this.held.off).matrixTransform(onto).y);
  }

  private build(): void {
    const { state } = this;
    this.bar.replaceChildren(this.run);
    this.controls = state.knobs.map((knob, k) => {
      if (knob.choice) {
        const made = select(knob.name, knob.texts, (text) => state.set(k, knob.texts.indexOf(text)));
        this.bar.append(make("label", {}, knob.name, made));
        return { show: (at) => (made.value = knob.texts[at]) };
      }
      const range = make("input", { type: "range", min: "0", max: String(knob.texts.length - 1), step: "1", "aria-label": knob.name });
      const said = make("output", {});
      said.style.minWidth = `${Math.max(...knob.texts.map((text) => text.length))}ch`;
      range.addEventListener("input", () => state.set(k, Number(range.value)));
      this.bar.append(make("label", {}, knob.name, range, said));
      return {
        show: (at) => {
          range.value = String(at);
          said.textContent = knob.texts[at];
          range.setAttribute("aria-valuetext", knob.texts[at]);
        },
      };
    });
    this.bar.append(make("span", { class: "spring" }));
    this.bar.append(button("Aa", "larger type, for a lecture hall", () => (this.state.larger = this.root.classList.toggle("presentation"))));
    this.root.setAttribute("aria-label", state.title);
  }

  private draw(): void {
    const both = `${this.state.ghost}\n${this.state.svg}`;
    if (both === this.drawn) return;
    this.drawn = both;
    this.picture.innerHTML = this.state.svg;
    if (!this.state.ghost) return;
    const before = document.createElement("template");
    before.innerHTML = this.state.ghost;
    const ghosts = before.content.querySelectorAll("g.ghost");
    this.picture.querySelectorAll("g.ghost").forEach((here, k) => {
      const ghost = ghosts[k]?.cloneNode(true) as Element | undefined;
      if (!ghost) return;
      ghost.setAttribute("class", "ghost-before");
      here.before(ghost);
    });
  }
}
