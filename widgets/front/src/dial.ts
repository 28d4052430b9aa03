// A number to be turned: a slider with its value beside it.
import { make } from "./dom";
import type { Dial as Turn } from "./messages";
import { short } from "./theme";

const STEPS = 200; // of the slider
const JUST_NOW = 1500; // milliseconds in which what somebody turns is not turned back

export type Range = Omit<Turn, "value">;

/** From the slider's steps to values and back. */
export function valueAt(step: number, { low, high, log, whole }: Range): number {
  const share = step / STEPS;
  const value = log ? low * (high / low) ** share : low + share * (high - low);
  return whole ? Math.round(value) : Number(value.toPrecision(log ? 2 : 3));
}

export function stepOf(value: number, { low, high, log }: Range): number {
  const share = log ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : (value - low) / (high - low || 1);
  return Math.round(STEPS * Math.max(0, Math.min(1, share)));
}

export class Dial {
  readonly root: HTMLLabelElement;
  private readonly slider: HTMLInputElement;
  private readonly value = make("output", { class: "ifog-value" });
  private touched = 0;

  constructor(
    private readonly knob: Range,
    turned: (value: string) => void,
    private readonly more: { label?: string; beyond?: string } = {}, // what lies beyond the last step
  ) {
    const most = more.beyond ? STEPS + 1 : STEPS;
    this.slider = make("input", { type: "range", min: "0", max: String(most), step: "1", "aria-label": more.label ?? knob.name });
    this.root = make("label", { class: "ifog-dial", title: knob.about }, more.label ?? knob.name, this.slider, this.value);
    this.slider.addEventListener("input", () => {
      this.touched = performance.now();
      this.write(this.chosen());
    });
    this.slider.addEventListener("change", () => {
      this.touched = performance.now();
      const value = this.chosen();
      turned(String(Number.isFinite(value) ? value : 0));
    });
  }

  show(value: number): void {
    if (performance.now() - this.touched < JUST_NOW) return;
    const step = Number.isFinite(value) ? stepOf(value, this.knob) : STEPS + 1;
    if (Number(this.slider.value) !== step) this.slider.value = String(step);
    this.write(value);
  }

  private chosen(): number {
    const step = Number(this.slider.value);
    return step > STEPS ? Infinity : valueAt(step, this.knob);
  }

  private write(value: number): void {
    const text = Number.isFinite(value) ? short(value) : (this.more.beyond ?? "");
    if (this.value.textContent !== text) this.value.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
  }
}
