// What a playground shows, and which turn of its controls is on its way to Python: pure state, no drawing.
import type { Knob, ToThePage, Turned } from "./messages";

const APART = 700; // milliseconds; turns that follow each other more closely are one movement of the hand
const LOST = 3000; // milliseconds after which an answer is no longer waited for

/** A part of the picture that turns a knob: at y = from to its first position, at y = to to its last. */
export interface Handle {
  knob: number;
  from: number;
  to: number;
  /** Other knobs and their positions, with the first move. */
  sets: [number, number][];
}

export class PlaygroundState {
  title = "";
  knobs: Knob[] = [];
  play = -1;
  at: number[] = [];
  svg = "";
  /** The picture before the last movement: what stays behind of it is drawn faintly. */
  ghost = "";
  playing = false;
  larger: boolean | null = null;
  private turn = 0;
  private answered = 0;
  private asked = -Infinity;
  private moved = -Infinity;
  private waiting = false;
  private readonly listeners = new Set<() => void>();

  constructor(private readonly now: () => number = () => performance.now()) {}

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell(): void {
    for (const listener of this.listeners) listener();
  }

  take(message: ToThePage): void {
    if (message.type === "knobs") [this.title, this.knobs, this.play] = [message.title, message.knobs, message.play];
    else if (message.type === "picture") {
      this.svg = message.svg;
      this.answered = message.turn;
      if (message.turn > this.turn) this.turn = message.turn; // turned from Python, or by another page
      if (message.turn >= this.turn && !this.waiting) this.at = [...message.at]; // else the hand is further already
    } else return;
    this.tell();
  }

  /** Turn a control. Python is told by the next `message`. */
  set(knob: number, at: number): void {
    this.setAll([[knob, at]]);
  }

  private setAll(wanted: [number, number][]): void {
    const at = [...this.at];
    for (const [knob, position] of wanted) at[knob] = Math.max(0, Math.min(this.knobs[knob].texts.length - 1, position));
    if (at.every((position, knob) => position === this.at[knob])) return;
    if (this.now() - this.moved > APART && !this.playing) this.ghost = this.svg;
    this.moved = this.now();
    this.at = at;
    this.waiting = true;
    this.tell();
  }

  /** What a part of the picture turns, as its data-drag, data-from, data-to and data-set say. */
  handle(data: DOMStringMap): Handle | null {
    const named = (name: string) => this.knobs.findIndex((knob) => knob.name === name.trim().replaceAll("_", " "));
    const [knob, from, to] = [named(data.drag ?? ""), Number(data.from), Number(data.to)];
    if (knob < 0 || !Number.isFinite(1 / (to - from))) return null;
    const sets = (data.set ?? "").split(";").flatMap((each): [number, number][] => {
      const [name, text = ""] = each.split("=");
      const other = named(name);
      const at = this.knobs[other]?.texts.indexOf(text.trim()) ?? -1;
      return at < 0 ? [] : [[other, at]];
    });
    return { knob, from, to, sets };
  }

  /** Drag a handle to y. */
  drag({ knob, from, to, sets }: Handle, y: number): void {
    const last = this.knobs[knob].texts.length - 1;
    this.setAll([...sets, [knob, Math.round(((y - from) / (to - from)) * last)]]);
  }

  /** One step of what runs by itself; at its end it stops. */
  step(): void {
    if (!this.playing) return;
    const last = this.knobs[this.play].texts.length - 1;
    if (this.at[this.play] >= last) this.playing = false;
    else this.set(this.play, this.at[this.play] + 1);
    this.tell();
  }

  togglePlay(): void {
    this.playing = !this.playing;
    if (this.playing && this.at[this.play] >= this.knobs[this.play].texts.length - 1) this.set(this.play, 0);
    this.tell();
  }

  /** What is to be sent now: nothing while an answer is awaited, so that turns never pile up. */
  message(): Turned | null {
    const awaited = this.answered < this.turn && this.now() - this.asked < LOST;
    if (!this.waiting || awaited) return null;
    this.waiting = false;
    this.asked = this.now();
    this.turn += 1;
    return { type: "turned", at: [...this.at], turn: this.turn };
  }
}
