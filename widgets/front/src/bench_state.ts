// What the lab bench shows, for all its views: what is set and what runs, and the states of the pictures on it.
import { CurvesState } from "./curves_state";
import type { Bench, Choices, Option, ToThePage } from "./messages";
import { NetworkState } from "./network_state";
import { Told } from "./told";

/** Pages of several parts are told for which of them a message is. */
export type Addressed = ToThePage & { part?: string };

export class BenchState extends Told {
  readonly network = new NetworkState();
  readonly curves = new CurvesState();
  bench: Bench | null = null;
  choices: Choices = { type: "choices", problems: [], methods: [], topologies: [], places: [] };
  larger: boolean | null = null;

  take(message: Addressed): void {
    if (message.part === "network") return this.network.take(message);
    if (message.part === "curves") return this.curves.take(message);
    if (message.type === "choices") this.choices = message;
    else if (message.type === "bench") this.bench = message;
    this.tell();
  }

  get goes(): boolean {
    return this.bench?.status === "running" || this.bench?.status === "waiting";
  }

  get live(): boolean {
    return this.goes || this.bench?.status === "paused";
  }

  /** The topologies, and the one that is drawn if it is none of them. */
  get topologies(): Option[] {
    const { topologies } = this.choices;
    const now = this.bench?.topology ?? "";
    return !now || topologies.some(({ name }) => name === now) ? topologies : [{ name: now, unfit: "" }, ...topologies];
  }
}

/** What the button that begins says. */
export function startSays(bench: Bench | null): string {
  if (bench?.status === "paused" && !bench.later.length) return "Go on";
  return bench?.status ? "Start anew" : "Start";
}
