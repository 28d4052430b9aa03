// The rows of all runs as they have arrived, and what is to be drawn of them: pure state, no drawing.
import type { Part, RunState, ToThePage } from "./messages";

export type Column = (number | null)[];
/** x and y of one run; null is a gap. */
export type Line = [number[], Column];

const PREFERRED = ["error", "loss", "disagreement", "gradient_norm", "size"];
const ACROSS = ["iteration", "bytes", "messages", "seconds", "simulated"];
/** What counts the effort is chosen for the lower axis. */
const EFFORT = new Set([...ACROSS, "compute", "wait", "copy"]);

export class CurvesState {
  runs: RunState[] = [];
  columns: Record<string, number[]>[] = [];
  x = "iteration";
  log = true;
  /** The run that is shown alone, or −1. */
  alone = -1;
  larger: boolean | null = null;
  private wanted = "";
  private readonly listeners = new Set<() => void>();

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell(): void {
    for (const listener of this.listeners) listener();
  }

  take(message: ToThePage): void {
    if (message.type === "curves") {
      [this.wanted, this.x, this.log] = [message.y, message.x, message.log];
    } else if (message.type === "rows") {
      this.runs = message.runs;
      let at = 0;
      for (const part of message.parts) at = this.add(part, message.rows, at);
    }
    this.tell();
  }

  /** What is drawn: what was asked for, or the first of the usual values of which something is known. */
  get y(): string {
    return this.wanted || (PREFERRED.find((name) => this.columns.some((table) => table?.[name]?.some(Number.isFinite))) ?? PREFERRED[0]);
  }

  set y(name: string) {
    this.wanted = name;
  }

  get metrics(): string[] {
    return this.names().filter((name) => !EFFORT.has(name));
  }

  get axes(): string[] {
    return ACROSS.filter((name) => this.names().includes(name));
  }

  isolate(run: number): void {
    this.alone = this.alone === run ? -1 : run;
    this.tell();
  }

  shown(run: number): boolean {
    return this.alone < 0 || this.alone === run;
  }

  /** A run's curve; infinities, and what a logarithmic axis cannot hold, are gaps. */
  line(run: number): Line {
    const table = this.columns[run] ?? {};
    const [xs, ys] = [table[this.x] ?? [], table[this.y] ?? []];
    const line: Line = [[], []];
    for (let k = 0; k < Math.min(xs.length, ys.length); k++) {
      if (!Number.isFinite(xs[k])) continue;
      line[0].push(xs[k]);
      line[1].push(Number.isFinite(ys[k]) && (ys[k] > 0 || !this.log) ? ys[k] : null);
    }
    return line;
  }

  /** Above this nothing is drawn: a run that failed must not squeeze the others into a line. */
  get ceiling(): number {
    let most = -Infinity;
    this.runs.forEach((run, k) => {
      if (run.status !== "failed" && this.shown(k)) for (const value of this.line(k)[1]) if (value !== null && value > most) most = value;
    });
    return most === -Infinity ? Infinity : 10 * Math.abs(most);
  }

  /** Where on the lower axis a run's marks are, and what they say. */
  marks(run: number): { x: number; what: string }[] {
    const { iteration = [], [this.x]: xs = [] } = this.columns[run] ?? {};
    return (this.runs[run]?.marks ?? []).flatMap(({ at, what }) => {
      const row = iteration.findIndex((k) => k >= at);
      return row >= 0 && Number.isFinite(xs[row]) ? [{ x: xs[row], what }] : [];
    });
  }

  last(run: number): number {
    return this.columns[run]?.[this.y]?.findLast((value) => !Number.isNaN(value)) ?? NaN;
  }

  private names(): string[] {
    return [...new Set(this.columns.flatMap((table) => Object.keys(table ?? {})))];
  }

  private add({ run, first, count, columns }: Part, rows: Float64Array, at: number): number {
    const table = (this.columns[run] ??= {});
    const known = Object.values(table)[0]?.length ?? 0;
    if (first > known) return at + count * columns.length; // some were missed: Python sends all to a page that comes back
    const next: Record<string, number[]> = {};
    columns.forEach((name, k) => {
      const kept = first === known && table[name] ? table[name] : (table[name] ?? []).slice(0, first);
      for (let i = 0; i < count; i++) kept.push(rows[at + k * count + i]);
      next[name] = kept;
    });
    this.columns[run] = next;
    return at + count * columns.length;
  }
}

/** Where a logarithmic axis has its ticks: at powers of ten, and on a short one between them. */
export function decades(low: number, high: number, most = 7): number[] {
  const [first, last] = [Math.floor(Math.log10(low) + 1e-9), Math.ceil(Math.log10(high) - 1e-9)];
  const step = Math.max(1, Math.ceil((last - first) / most));
  const factors = last - first <= 2 ? [1, 2, 5] : [1];
  const ticks: number[] = [];
  for (let k = Math.ceil(first / step) * step; k <= last; k += step) for (const factor of factors) ticks.push(factor * 10 ** k);
  return ticks.filter((tick) => tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9));
}
