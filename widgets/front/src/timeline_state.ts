// A trace as it has arrived: what is where, and which part of the time is looked at. Pure state, no drawing.
import type { File, Row, ToThePage, Trace, What } from "./messages";
import { Told } from "./told";

/** The segments of one kind in one lane of a row, in the order of time: none overlaps the next. */
export interface Layer {
  row: number;
  lane: number;
  kind: number;
  ids: number[];
}

/** What of a layer is to be drawn in some pixels: segments that are wide enough, and how much the others fill of each pixel. */
export interface Bars {
  wide: number[];
  shares: Float32Array;
}

export const NOTHING = -1;
const CLOSEST = 0.02; // microseconds across the whole picture; clocks are not finer

export class TimelineState extends Told {
  trace: Trace | null = null;
  layers: Layer[] = [];
  from = 0;
  to = 1;
  /** The segment under the pointer or chosen with the keyboard. */
  spot = NOTHING;
  /** The row that the keyboard is in. */
  row = 0;
  table = false;
  larger: boolean | null = null;
  /** Whoever asked for the trace as a file. */
  saving: ((file: File) => void) | null = null;
  private longest = 0; // of all messages, so that those that are visible can be searched for

  take(message: ToThePage): void {
    if (message.type === "file") {
      this.saving?.(message);
      this.saving = null;
      return;
    }
    if (message.type !== "trace") return;
    const [before, all] = [this.trace, this.trace === null || (this.from === 0 && this.to >= this.trace.end)];
    this.trace = message;
    this.layers = layersOf(message);
    this.longest = message.found.reduce((most, found, k) => Math.max(most, found - message.lent[k]), 0);
    this.spot = NOTHING;
    if (all) this.fit();
    else if (message.live && before && this.to >= before.end) this.look(this.from + message.end - before.end, this.to + message.end - before.end);
    else this.look(this.from, this.to);
    this.tell();
  }

  get rows(): Row[] {
    return this.trace?.rows ?? [];
  }

  of(segment: number): What {
    return this.trace!.whats[this.trace!.what[segment]];
  }

  // ---- which part ----------------------------------------------------------------------------------------------------

  look(from: number, to: number): void {
    const end = this.trace?.end || 1;
    const length = Math.min(Math.max(to - from, CLOSEST), end);
    this.from = Math.max(0, Math.min(from + (to - from - length) / 2, end - length));
    this.to = this.from + length;
  }

  fit(): void {
    [this.from, this.to] = [0, this.trace?.end || 1];
  }

  zoom(factor: number, at: number): void {
    this.look(at + (this.from - at) / factor, at + (this.to - at) / factor);
  }

  move(share: number): void {
    const by = share * (this.to - this.from);
    const bounded = Math.max(-this.from, Math.min(by, (this.trace?.end || 1) - this.to));
    this.look(this.from + bounded, this.to + bounded);
  }

  // ---- what is there -------------------------------------------------------------------------------------------------

  end(segment: number): number {
    return this.trace!.begin[segment] + this.trace!.length[segment];
  }

  bars(layer: Layer, pixels: number): Bars {
    const { begin } = this.trace!;
    const scale = pixels / (this.to - this.from);
    const bars: Bars = { wide: [], shares: new Float32Array(pixels + 1) };
    for (let k = this.firstEnding(layer.ids, this.from); k < layer.ids.length; k++) {
      const id = layer.ids[k];
      if (begin[id] > this.to) break;
      const left = Math.max(0, (begin[id] - this.from) * scale);
      const right = Math.min(pixels, (this.end(id) - this.from) * scale);
      if (right - left >= 2) {
        bars.wide.push(id);
        continue;
      }
      const first = Math.floor(left);
      const last = Math.min(pixels - 1, Math.floor(right));
      if (first === last) bars.shares[first] += right - left;
      else {
        bars.shares[first] += first + 1 - left;
        for (let x = first + 1; x < last; x++) bars.shares[x] += 1;
        bars.shares[last] += right - last;
      }
    }
    return bars;
  }

  /** The segment in a lane at a time, or the nearest one within the slack; waits lie upon the calls that wait. */
  find(row: number, lane: number, time: number, slack: number): number {
    let [best, distance] = [NOTHING, Infinity];
    for (const layer of this.layers) {
      if (layer.row !== row || layer.lane !== lane) continue;
      for (let k = this.firstEnding(layer.ids, time - slack); k < layer.ids.length; k++) {
        const id = layer.ids[k];
        if (this.trace!.begin[id] > time + slack) break;
        const away = Math.max(0, this.trace!.begin[id] - time, time - this.end(id));
        const nearer = away < distance || (away === distance && this.trace!.length[id] < this.trace!.length[best]);
        if (nearer) [best, distance] = [id, away];
      }
    }
    return best;
  }

  /** When the next wait in a lane begins. */
  firstWait(row: number, lane: number, time: number): number {
    const waits = this.layers.find((layer) => layer.row === row && layer.lane === lane && this.trace!.kinds[layer.kind] === "wait");
    const at = waits ? lowest(waits.ids.length, (i) => this.trace!.begin[waits.ids[i]] >= time) : 0;
    return waits && at < waits.ids.length ? this.trace!.begin[waits.ids[at]] : Infinity;
  }

  /** The call in which a rank waits. */
  callOf(wait: number): number {
    const { row, lane } = this.of(wait);
    for (const layer of this.layers) {
      if (layer.row !== row || layer.lane !== lane || layer.kind === this.of(wait).kind) continue;
      const id = layer.ids[this.firstEnding(layer.ids, this.end(wait))];
      if (id !== undefined && this.trace!.begin[id] <= this.trace!.begin[wait]) return id;
    }
    return NOTHING;
  }

  /** The segment after this one in its row, or before it; of a row in which nothing is chosen, the first that is visible. */
  next(step: number): number {
    const ids = this.layers.filter((layer) => layer.row === this.row).flatMap((layer) => layer.ids);
    ids.sort((a, b) => this.trace!.begin[a] - this.trace!.begin[b] || a - b);
    const at = this.spot === NOTHING ? -1 : ids.indexOf(this.spot);
    if (at < 0) return ids.find((id) => this.end(id) >= this.from) ?? NOTHING;
    return ids[Math.max(0, Math.min(ids.length - 1, at + step))];
  }

  /** The messages that are at least in part in the picture. */
  arrows(): number[] {
    const { lent, found } = this.trace!;
    const visible: number[] = [];
    for (let k = lowest(lent.length, (i) => lent[i] >= this.from - this.longest); k < lent.length && lent[k] <= this.to; k++) {
      if (found[k] >= this.from) visible.push(k);
    }
    return visible;
  }

  /** The messages that a call has sent and received. */
  arrowsOf(segment: number): number[] {
    const { begin, lent, found, ends } = this.trace!;
    const [first, last, row] = [begin[segment], this.end(segment), this.of(segment).row];
    return this.arrows().filter(
      (k) => (ends[2 * k] === row && lent[k] >= first && lent[k] <= last) || (ends[2 * k + 1] === row && found[k] >= first && found[k] <= last),
    );
  }

  private firstEnding(ids: number[], time: number): number {
    return lowest(ids.length, (i) => this.end(ids[i]) >= time);
  }
}

function layersOf(trace: Trace): Layer[] {
  const layers = new Map<string, Layer>();
  trace.what.forEach((what, id) => {
    const { row, lane, kind } = trace.whats[what];
    const key = `${row} ${lane} ${kind}`;
    let layer = layers.get(key);
    if (!layer) layers.set(key, (layer = { row, lane, kind, ids: [] }));
    layer.ids.push(id);
  });
  const waits = trace.kinds.indexOf("wait");
  return [...layers.values()].sort((a, b) => a.row - b.row || a.lane - b.lane || Number(a.kind === waits) - Number(b.kind === waits));
}

/** The lowest index at which something that once true stays true is true. */
export function lowest(count: number, holds: (i: number) => boolean): number {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** A time in microseconds as one reads it. */
export function duration(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0";
  for (const [unit, name] of [[1e6, "s"], [1e3, "ms"], [1, "µs"]] as const) {
    if (size >= unit) return `${Number((value / unit).toPrecision(4))} ${name}`;
  }
  return `${Math.round(value * 1000)} ns`;
}

/** Round times between two, about so many. */
export function ticks(from: number, to: number, most: number): number[] {
  const rough = (to - from) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough)!;
  const found: number[] = [];
  for (let k = Math.ceil(from / step); k * step <= to; k++) found.push(k * step);
  return found;
}

export function size(bytes: number): string {
  for (const [unit, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]] as const) {
    if (bytes >= unit) return `${Number((bytes / unit).toPrecision(3))} ${name}`;
  }
  return `${bytes} bytes`;
}
