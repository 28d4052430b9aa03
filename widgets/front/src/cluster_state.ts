// How the engines are, as of the last message, and which of them is open: pure state, no drawing.
import type { Tile, Tiles, ToThePage, Words } from "./messages";

const NONE: Tiles = { type: "tiles", name: "", n: 0, phase: "", facts: "", said: "", trouble: "", note: "", tiles: [] };

export class ClusterState {
  seen: Tiles = NONE;
  words: Words | null = null;
  /** The rank whose words are shown, or −1. */
  open = -1;
  larger: boolean | null = null;
  private readonly listeners = new Set<() => void>();

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell(): void {
    for (const listener of this.listeners) listener();
  }

  take(message: ToThePage): void {
    if (message.type === "tiles") this.seen = message;
    else if (message.type === "words") this.words = message;
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
