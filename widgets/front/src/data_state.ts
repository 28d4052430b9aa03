// Who has which samples, as of the last message, and what has been asked for since: pure state, no drawing.
import type { Bars, Deal, Deals, ToThePage } from "./messages";
import { Told } from "./told";
import { Turns } from "./turns";

const STEPS = 8; // of the slider in a power of ten
const [LOW, HIGH] = [-2, 2];

/** How the samples are to be dealt: where the controls stand. */
export type Wanted = Omit<Deal, "type" | "turn">;

const NONE: Bars = {
  type: "bars", title: "", classes: [], n: 0, shown: 0, rules: [], rule: "", alpha: 1, shards: 2, seed: 0, equal: true,
  heterogeneity: 0, sizes: "", note: "", turn: 0, counts: new Uint32Array(0),
};

export class DataState extends Told {
  seen: Bars = NONE;
  wanted: Wanted = { rule: "", alpha: 0.1, shards: 2, n: 0, seed: 0, equal: true };
  /** A class that is shown alone, or −1. */
  pinned = -1;
  shares = false;
  larger: boolean | null = null;
  private deals: Deals | null = null;
  private readonly turns: Turns;

  constructor(now: () => number = () => performance.now()) {
    super();
    this.turns = new Turns(now);
  }

  take(message: ToThePage): void {
    if (message.type === "deals") this.deals = message;
    else if (message.type === "bars") {
      if (this.pinned >= message.classes.length) this.pinned = -1;
      this.seen = message;
      if (this.turns.answer(message.turn)) this.follow(message);
    } else return;
    this.tell();
  }

  private follow({ rule, alpha, shards, n, seed, equal }: Bars): void {
    const { wanted } = this;
    // what a rule does not use stays where it was
    this.wanted = { rule, alpha: alpha || wanted.alpha, shards: shards || wanted.shards, n, seed, equal };
  }

  /** Turn a control. Python is told by the next `message`. */
  want(changed: Partial<Wanted>): void {
    this.wanted = { ...this.wanted, ...changed };
    if (this.deals) this.look(this.deals);
    else this.turns.want();
    this.tell();
  }

  /** What is to be sent now. */
  message(): Deal | null {
    const turn = this.turns.next();
    return turn ? { type: "deal", ...this.wanted, turn } : null;
  }

  /** On a page that nobody answers: what was dealt beforehand for this α. */
  private look({ alphas, heterogeneities, counts }: Deals): void {
    const k = alphas.indexOf(this.wanted.alpha);
    if (k < 0) return;
    const each = counts.length / alphas.length;
    this.seen = {
      ...this.seen, alpha: alphas[k], heterogeneity: heterogeneities[k], counts: counts.slice(k * each, (k + 1) * each),
    };
  }

  /** Whether the slider can do anything, and whether the other controls can. */
  get answers(): { alpha: boolean; all: boolean } {
    return { alpha: this.seen.rules.length > 0 || this.deals !== null, all: this.seen.rules.length > 0 };
  }

  /** How many samples of a class a node has; the node −1 is the mean of all. */
  count(node: number, cls: number): number {
    const { counts, classes, shown, n } = this.seen;
    return node < 0 ? counts[shown * classes.length + cls] / n : counts[node * classes.length + cls];
  }

  size(node: number): number {
    let sum = 0;
    for (let c = 0; c < this.seen.classes.length; c++) sum += this.count(node, c);
    return sum;
  }

  /** A node in words. */
  said(node: number, cls = -1): string {
    const { classes } = this.seen;
    const size = this.size(node);
    const who = node < 0 ? "all nodes together" : `node ${node}: ${group(size)} samples`;
    const part = (c: number) => {
      const count = this.count(node, c);
      const share = percent(count / (size || 1));
      return `class ${classes[c]}: ${node < 0 ? share : `${group(count)} (${share})`}`;
    };
    if (cls >= 0) return `${who}\n${part(cls)}`;
    const most = classes.map((_, c) => c).filter((c) => this.count(node, c) > 0);
    most.sort((a, b) => this.count(node, b) - this.count(node, a));
    const rest = most.length - 5;
    return [who, ...most.slice(0, 5).map(part), ...(rest > 0 ? [`and ${rest} more`] : [])].join("\n");
  }
}

/** The last position of the slider for α, which stands for infinity. */
export const LAST = (HIGH - LOW) * STEPS + 1;

export function alphaAt(position: number): number {
  return position >= LAST ? -1 : Number((10 ** (LOW + position / STEPS)).toPrecision(2));
}

export function positionOf(alpha: number): number {
  if (alpha < 0) return LAST;
  return Math.max(0, Math.min(LAST - 1, Math.round((Math.log10(alpha) - LOW) * STEPS)));
}

export function alphaText(alpha: number): string {
  return alpha < 0 ? "∞" : String(Number(alpha.toPrecision(3)));
}

export function group(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

/** Round numbers from 0 to the largest. */
export function ticks(top: number): number[] {
  if (!(top > 0)) return [0];
  const power = 10 ** Math.floor(Math.log10(top / 5));
  const step = [1, 2, 5, 10].map((k) => k * power).find((each) => each * 5 >= top)!;
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, k) => k * step);
}
