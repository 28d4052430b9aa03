// How the engines are, as of the last message, and which of them is open: pure state, no drawing.
import type { Tile, Tiles, ToThePage, Words } from "./messages";
import { Told } from "./told";

const NONE: Tiles = { type: "tiles", name: "", n: 0, phase: "", facts: "", said: "", trouble: "", note: "", tiles: [] };

const MOST = 24; // ranks that can be told apart on a small circle

/** Two ranks, of which one has given its last tensor to the other, or each. */
export interface Link {
  a: number;
  b: number;
  there: boolean;
  back: boolean;
  /** Just now. */
  used: boolean;
}

export class ClusterState extends Told {
  seen: Tiles = NONE;
  /** The ranks that have exchanged something between the last two looks. */
  used = new Set<number>();
  words: Words | null = null;
  /** The rank whose words are shown, or −1. */
  open = -1;
  larger: boolean | null = null;

  take(message: ToThePage): void {
    if (message.type === "tiles") {
      const before = this.seen.tiles;
      const went = message.tiles.filter(({ rank, exchanges }) => exchanges > 0 && before[rank] && exchanges !== before[rank].exchanges);
      [this.seen, this.used] = [message, new Set(went.map(({ rank }) => rank))];
    } else if (message.type === "words") this.words = message;
    else return;
    this.tell();
  }

  /** Show this rank's words, or if they are shown, no longer; the rank that is open then. */
  toggle(rank: number): number {
    this.open = this.open === rank ? -1 : rank;
    this.tell();
    return this.open;
  }

  /** The words of the rank that is open, once they are there. */
  get shown(): Words | null {
    return this.words && this.words.rank === this.open ? this.words : null;
  }

  /** Who has given its last tensor to whom. */
  get links(): Link[] {
    const found = new Map<string, Link>();
    for (const { rank, told } of this.seen.tiles) {
      for (const other of told) {
        const [a, b] = [Math.min(rank, other), Math.max(rank, other)];
        const link = found.get(`${a} ${b}`) ?? { a, b, there: false, back: false, used: false };
        link[rank === a ? "there" : "back"] = true;
        link.used ||= this.used.has(rank);
        found.set(`${a} ${b}`, link);
      }
    }
    return [...found.values()];
  }

  /** Whether there is something to see in who talks to whom. */
  get round(): boolean {
    return this.seen.n > 1 && this.seen.n <= MOST;
  }

  /** Whether a rank can be frozen: between machines others would take it for dead. */
  freezable(tile: Tile): boolean {
    const { phase, n, facts } = this.seen;
    return phase === "running" && n > 1 && !facts.includes("hosts") && (working(tile) || tile.state === "idle");
  }

  /** What can be done now. */
  get possible(): { start: boolean; interrupt: boolean; restart: boolean; stop: boolean } {
    const { phase, tiles } = this.seen;
    return {
      start: phase === "off",
      interrupt: phase === "running" && tiles.some(working),
      restart: phase === "running" || phase === "broken",
      stop: phase === "running" || phase === "broken" || phase === "starting",
    };
  }
}

export function working(tile: Tile): boolean {
  return tile.state === "busy" || tile.state === "waiting";
}

/** What an engine is in, in a few words. */
export function doing(tile: Tile): string {
  if (tile.operation) return `waits for rank ${tile.waits_for}: ${tile.operation}`;
  return tile.cell;
}

export function seconds(value: number): string {
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  return value < 172_800 ? `${Math.round(value / 3600)} h` : `${Math.round(value / 86_400)} days`;
}

export function bytes(value: number): string {
  return value >= 1e9 ? `${(value / 1e9).toFixed(1)} GB` : `${Math.round(value / 1e6)} MB`;
}
