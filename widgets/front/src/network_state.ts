// What a network shows, for all its views: pure state, no drawing.
import type { Blocks, Graph, Places, ToThePage, Values } from "./messages";
import { Told } from "./told";

const FADE = 250; // milliseconds at most from one value's colour to the next

/** A round of communication. */
export interface Round {
  count: number;
  pairs: Uint32Array;
  weights: Float32Array;
  own: Float32Array;
}

export type Spot = { kind: "node"; node: number } | { kind: "line"; a: number; b: number };
export type Tool = "move" | "add" | "remove";
/** What has changed; "moving" is what goes on changing while a hand moves. */
export type Change = "all" | "places" | "moving" | "values" | "round" | "spot";

export class NetworkState extends Told<[Change]> {
  graph: Graph | null = null;
  blocks: Blocks | null = null;
  values: Values | null = null;
  /** The values before these, from which the colours go over to them, and how long that may take. */
  before: Float32Array | null = null;
  pace = 0;
  came = 0;
  positions: Float32Array = new Float32Array();
  /** Where nodes come from while a layout changes, and when that began. */
  from: Float32Array | null = null;
  round = 0;
  playing = false;
  speed = 2;
  tool: Tool = "move";
  spot: Spot | null = null;
  /** Lines that were asked for and not yet answered. */
  waiting: [number, number][] = [];
  /** How the last view that closed was set, for the next one. */
  kept: { zoom: number; x: number; y: number; presentation: boolean } | null = null;

  take(message: ToThePage): void {
    if (message.type === "graph") this.takeGraph(message);
    else if (message.type === "blocks") this.takeBlocks(message);
    else if (message.type === "values") this.takeValues(message);
    else if (message.type === "places") this.takePlaces(message);
  }

  /** How many rounds are known; those of a static topology are all the same. */
  get rounds(): number {
    return this.graph?.ends.length ?? 0;
  }

  get varying(): boolean {
    return this.rounds > 1;
  }

  /** The round that is lit. */
  current(): Round {
    const { graph, values, round } = this;
    if (!graph) return { count: 0, pairs: new Uint32Array(), weights: new Float32Array(), own: new Float32Array() };
    if (values && values.round === round && values.own.length) {
      return { count: values.lit.length / 2, pairs: values.lit, weights: values.weights, own: values.own };
    }
    const k = round % this.rounds;
    const [begin, end] = [k ? graph.ends[k - 1] : 0, graph.ends[k]];
    return {
      count: end - begin,
      pairs: graph.lit.subarray(2 * begin, 2 * end),
      weights: graph.weights.subarray(2 * begin, 2 * end),
      own: graph.own.subarray(k * graph.n, (k + 1) * graph.n),
    };
  }

  /** What a and b put on each other's values in this round: W[b, a] and W[a, b], NaN where nothing is sent. */
  weightsBetween(a: number, b: number): [number, number] {
    const [low, high] = a < b ? [a, b] : [b, a];
    const { pairs, weights, count } = this.current();
    for (let k = 0; k < count; k++) {
      if (pairs[2 * k] === low && pairs[2 * k + 1] === high) {
        return a < b ? [weights[2 * k], weights[2 * k + 1]] : [weights[2 * k + 1], weights[2 * k]];
      }
    }
    return [NaN, NaN];
  }

  /** The values on their way from the last ones, as they are now, and whether they have arrived. */
  faded(now: number): { values: Float32Array; share: number } {
    const { values, before, pace } = this;
    const share = before && pace > 0 ? Math.min(1, Math.max(0, (now - this.came) / pace)) : 1;
    if (!values || share === 1) return { values: values?.values ?? new Float32Array(), share: 1 };
    return { values: values.values.map((value, k) => before![k] + share * (value - before![k])), share };
  }

  joined(a: number, b: number): boolean {
    const [there, back] = this.weightsBetween(a, b);
    return !Number.isNaN(there) || (!this.graph!.directed && !Number.isNaN(back));
  }

  goTo(round: number): void {
    this.round = Math.max(0, round);
    this.tell("round");
  }

  look(spot: Spot | null): void {
    if (JSON.stringify(spot) === JSON.stringify(this.spot)) return;
    this.spot = spot;
    this.tell("spot");
  }

  private takeGraph(graph: Graph): void {
    const same = this.graph?.n === graph.n;
    const moved = same && this.positions.some((place, k) => place !== graph.positions[k]);
    this.from = moved ? this.positions : null;
    [this.graph, this.blocks, this.positions, this.waiting] = [graph, null, graph.positions, []];
    if (!same) [this.spot, this.values] = [null, null];
    this.tell("all");
  }

  private takeBlocks(blocks: Blocks): void {
    [this.blocks, this.graph, this.spot, this.values] = [blocks, null, null, null];
    this.tell("all");
  }

  private takeValues(values: Values): void {
    if (!values.values.length) {
      this.values = null;
      return this.tell("values");
    }
    if (this.graph && values.values.length !== this.graph.n) return; // of a topology that is no longer drawn
    const last = this.values;
    const alike = last && last.values.length === values.values.length && last.what === values.what && !values.names.length;
    const now = performance.now();
    [this.before, this.pace, this.came] = [alike ? last.values : null, Math.min(FADE, now - this.came), now];
    this.values = values;
    if (values.round >= 0 && values.round !== this.round) {
      [this.round, this.playing] = [values.round, false];
      this.tell("round");
    } else {
      this.tell("values");
    }
  }

  private takePlaces(places: Places): void {
    if (!this.graph || places.positions.length !== 2 * this.graph.n) return;
    [this.from, this.positions] = [this.positions, places.positions];
    this.graph.layout = places.layout;
    this.tell("places");
  }
}
