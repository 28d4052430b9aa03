// A race between runs: how far each has come for the same effort, and who has reached the target for the least of it.
import { CurvesState } from "./curves_state";
import type { Addressed } from "./bench_state";
import type { Race } from "./messages";
import { Told } from "./told";

/** Where a runner is. */
export interface Standing {
  run: number;
  rank: number;
  /** From the start to the target: 0 … 1, in powers of ten. */
  share: number;
  value: number;
  /** What the target has cost, or NaN. */
  cost: number;
}

export class RaceState extends Told {
  readonly curves = new CurvesState();
  race: Race = { type: "race", by: "iteration", target: 0.1, value: "error", measures: [] };
  /** How much of the whole effort is shown; 1: all there is. */
  share = 1;
  playing = false;
  larger: boolean | null = null;

  constructor() {
    super();
    this.curves.subscribe(() => this.tell());
  }

  take(message: Addressed): void {
    if (message.part === "curves") return this.curves.take(message);
    if (message.type !== "race") return;
    this.race = message;
    if (this.curves.x !== message.by) {
      this.curves.x = message.by;
      this.curves.tell();
    }
    this.tell();
  }

  private column(run: number, name: string): number[] {
    return this.curves.columns[run]?.[name] ?? [];
  }

  /** What a run has cost so far. */
  spent(run: number): number {
    return this.column(run, this.race.by).findLast(Number.isFinite) ?? 0;
  }

  /** What the target has cost a run; NaN if it is not there. Between two rows it is on a straight line of powers of ten. */
  cost(run: number): number {
    const [costs, values] = [this.column(run, this.race.by), this.column(run, this.race.value)];
    const { target } = this.race;
    const k = values.findIndex((value) => value <= target);
    if (k < 0) return NaN;
    if (k === 0 || !(values[k] > 0)) return costs[k];
    const part = Math.log(values[k - 1] / target) / Math.log(values[k - 1] / values[k]);
    return costs[k - 1] + part * (costs[k] - costs[k - 1]);
  }

  /** The end of the race: the last who reaches the target does, or all have stopped. */
  get end(): number {
    const runs = this.curves.runs.map((_, run) => run);
    const costs = runs.map((run) => this.cost(run));
    if (costs.length && costs.every(Number.isFinite)) return Math.max(...costs);
    return Math.max(0, ...runs.map((run, k) => (Number.isFinite(costs[k]) ? costs[k] : this.spent(run))));
  }

  get now(): number {
    return this.share * this.end;
  }

  valueAt(run: number, effort: number): number {
    const [costs, values] = [this.column(run, this.race.by), this.column(run, this.race.value)];
    let k = costs.findIndex((cost) => cost > effort) - 1;
    if (k < -1) k = costs.length - 1;
    return values[Math.max(0, k)] ?? NaN;
  }

  /** All runners for the same effort, in the order of the runs; the first to arrive is first, then who is nearest. */
  standings(effort = this.now): Standing[] {
    const { target } = this.race;
    const found = this.curves.runs.map((_, run) => {
      const cost = this.cost(run);
      const there = cost <= effort;
      const value = this.valueAt(run, there ? cost : effort);
      const first = this.column(run, this.race.value)[0];
      const share = there ? 1 : Math.log(first / value) / Math.log(first / target);
      return { run, rank: 0, share: Number.isFinite(share) ? Math.max(0, Math.min(1, share)) : 0, value, cost: there ? cost : NaN };
    });
    const behind = (a: Standing, b: Standing) => {
      const [first, second] = [a, b].map(({ cost }) => (Number.isFinite(cost) ? cost : Infinity));
      return first !== second ? first - second : b.share - a.share;
    };
    [...found].sort(behind).forEach((standing, k) => (standing.rank = k + 1));
    return found;
  }
}
