// The rows of all runs as they have arrived, and what is to be drawn of them: pure state, no drawing.
import type { Part, RunState, ToThePage } from "./messages";
import { Told } from "./told";

export type Column = (number | null)[];
/** x and y of one run; null is a gap. */
export type Line = [number[], Column];

/** What is drawn as one: a run, or as a band those that differ in their seed only. */
export interface Entry {
  key: string;
  name: string;
  runs: number[];
  ghost: boolean;
}

/** A mean, and how far what it is the mean of lies apart: x, mean, least, largest. */
export type Band = [number[], number[], number[], number[]];

const PREFERRED = ["error", "loss", "disagreement", "gradient_norm", "size"];
const ACROSS = ["iteration", "bytes", "messages", "seconds", "simulated"];
/** What counts the effort is chosen for the lower axis. */
const EFFORT = new Set([...ACROSS, "compute", "wait", "copy"]);

export class CurvesState extends Told {
  runs: RunState[] = [];
  columns: Record<string, number[]>[] = [];
  x = "iteration";
  log = true;
  logX = false;
  band = true;
  /** The key of the entry that is shown alone, or "". */
  alone = "";
  larger: boolean | null = null;
  private wanted = "";

  take(message: ToThePage): void {
    if (message.type === "curves") {
      [this.wanted, this.x, this.log, this.band] = [message.y, message.x, message.log, message.band];
    } else if (message.type === "rows") {
      this.runs = message.runs;
      if (this.columns.length > this.runs.length) [this.columns, this.alone] = [this.columns.slice(0, this.runs.length), ""];
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

  get grouped(): boolean {
    return this.runs.some((run) => run.group !== "" && !run.ghost);
  }

  /** What is drawn, in the order of the runs; ghosts first, so that they lie below. */
  entries(): Entry[] {
    const found = new Map<string, Entry>();
    this.runs.forEach((run, k) => {
      const together = this.band && run.group !== "" && !run.ghost;
      const key = together ? `group ${run.group}` : `run ${k}`;
      const entry = found.get(key);
      if (entry) entry.runs.push(k);
      else found.set(key, { key, name: together ? run.group : run.name, runs: [k], ghost: run.ghost });
    });
    const all = [...found.values()];
    return [...all.filter((entry) => entry.ghost), ...all.filter((entry) => !entry.ghost)];
  }

  isolate(key: string): void {
    this.alone = this.alone === key ? "" : key;
    this.tell();
  }

  /** Ghosts stay beside one that is shown alone: they are there to compare with. */
  shown(entry: Entry): boolean {
    return entry.ghost || this.alone === "" || this.alone === entry.key || !this.entries().some(({ key }) => key === this.alone);
  }

  /** A run's curve; infinities, and what a logarithmic axis cannot hold, are gaps. */
  line(run: number): Line {
    const table = this.columns[run] ?? {};
    const [xs, ys] = [table[this.x] ?? [], table[this.y] ?? []];
    const line: Line = [[], []];
    for (let k = 0; k < Math.min(xs.length, ys.length); k++) {
      if (!Number.isFinite(xs[k]) || (this.logX && xs[k] <= 0)) continue;
      line[0].push(xs[k]);
      line[1].push(Number.isFinite(ys[k]) && (ys[k] > 0 || !this.log) ? ys[k] : null);
    }
    return line;
  }

  /** Several runs as one, where all of them are; between its points a run is a straight line. */
  bandOf(runs: number[]): Band {
    const lines = runs.map((run) => known(this.line(run))).filter(([xs]) => xs.length);
    const band: Band = [[], [], [], []];
    if (!lines.length) return band;
    const [begin, end] = [Math.max(...lines.map(([xs]) => xs[0])), Math.min(...lines.map(([xs]) => xs[xs.length - 1]))];
    const places = lines.map(() => 0);
    for (const x of lines[0][0]) {
      if (x < begin || x > end) continue;
      const values = lines.map(([xs, ys], k) => {
        while (places[k] + 1 < xs.length && xs[places[k] + 1] <= x) places[k] += 1;
        const at = places[k];
        const share = at + 1 < xs.length ? (x - xs[at]) / (xs[at + 1] - xs[at] || 1) : 0;
        return share > 0 ? ys[at] + share * (ys[at + 1] - ys[at]) : ys[at];
      });
      band[0].push(x);
      band[1].push(values.reduce((sum, value) => sum + value, 0) / values.length);
      band[2].push(Math.min(...values));
      band[3].push(Math.max(...values));
    }
    return band;
  }

  /** What theory says of a run: from a value on, less by a factor in each iteration; not below `floor`. */
  theory(run: number, floor: number): Line {
    const state = this.runs[run];
    const { iteration = [], [this.x]: xs = [], [this.y]: ys = [] } = this.columns[run] ?? {};
    if (!state.shrinking.includes(this.y) || state.ghost) return [[], []];
    const line: Line = [[], []];
    state.theory.forEach(({ at, rate }, part) => {
      const first = iteration.findIndex((k) => k >= at);
      const end = state.theory[part + 1]?.at ?? Infinity;
      if (first < 0 || rate >= 1) return;
      for (let k = first; k < iteration.length && iteration[k] <= end; k++) {
        const value = ys[first] * rate ** (iteration[k] - iteration[first]);
        if (Number.isFinite(xs[k]) && (xs[k] > 0 || !this.logX) && value >= floor) line[0].push(xs[k]), line[1].push(value);
      }
    });
    return line;
  }

  /** Above this nothing is drawn: a run that failed must not squeeze the others into a line. */
  get ceiling(): number {
    let most = -Infinity;
    for (const entry of this.entries()) {
      if (!this.shown(entry)) continue;
      for (const run of entry.runs) {
        if (this.runs[run].status === "failed") continue;
        for (const value of this.line(run)[1]) if (value !== null && value > most) most = value;
      }
    }
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

/** Without gaps. */
function known([xs, ys]: Line): [number[], number[]] {
  const found: [number[], number[]] = [[], []];
  ys.forEach((value, k) => value !== null && (found[0].push(xs[k]), found[1].push(value)));
  return found;
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
