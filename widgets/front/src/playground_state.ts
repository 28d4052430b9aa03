// What a playground shows, and which turn of its controls is on its way to Python: pure state, no drawing.
import type { Knob, ToThePage, Turned } from "./messages";
import { Told } from "./told";
import { Turns } from "./turns";

const APART = 700; // milliseconds; turns that follow each other more closely are one movement of the hand

/** A part of the picture that turns a knob: at y = from to its first position, at y = to to its last. */
export interface Handle {
  knob: number;
  from: number;
  to: number;
  /** Other knobs and their positions, with the first move. */
  sets: [number, number][];
}

export class PlaygroundState extends Told {
  title = "";
  knobs: Knob[] = [];
  play = -1;
  at: number[] = [];
  svg = "";
  /** The picture before the last movement: what stays behind of it is drawn faintly. */
  ghost = "";
  playing = false;
  larger: boolean | null = null;
  private moved = -Infinity;
  private readonly turns: Turns;

  constructor(private readonly now: () => number = () => performance.now()) {
    super();
    this.turns = new Turns(now);
  }

  take(message: ToThePage): void {
    if (message.type === "knobs") [this.title, this.knobs, this.play] = [message.title, message.knobs, message.play];
    else if (message.type === "picture") {
      this.svg = message.svg;
      if (this.turns.answer(message.turn)) this.at = [...message.at];
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
    this.turns.want();
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

  /** What is to be sent now. */
  message(): Turned | null {
    const turn = this.turns.next();
    return turn ? { type: "turned", at: [...this.at], turn } : null;
  }
}
