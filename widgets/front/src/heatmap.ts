// W beside the network: a picture of its entries, rows receive and columns send.
import type { Round } from "./network_state";

const CELLS = 400; // a larger W is shown in so many blocks a side

export class HeatMap {
  cells = 1;
  n = 1;
  private image: HTMLCanvasElement | null = null;

  /** The picture of a round. */
  ofRound(n: number, round: Round, colour: [number, number, number]): void {
    const cells = Math.min(n, CELLS);
    const sums = new Float32Array(cells * cells);
    const at = (i: number, j: number) => Math.floor((i * cells) / n) * cells + Math.floor((j * cells) / n);
    for (let i = 0; i < round.own.length; i++) sums[at(i, i)] += Math.abs(round.own[i]);
    for (let k = 0; k < round.count; k++) {
      const [a, b] = [round.pairs[2 * k], round.pairs[2 * k + 1]];
      sums[at(b, a)] += Math.abs(round.weights[2 * k] || 0);
      sums[at(a, b)] += Math.abs(round.weights[2 * k + 1] || 0);
    }
    this.ofBlocks(n, cells, sums, colour);
  }

  /** The picture of sums that are known already. */
  ofBlocks(n: number, cells: number, sums: Float32Array, [r, g, b]: [number, number, number]): void {
    [this.n, this.cells] = [n, cells];
    let most = 0;
    for (const sum of sums) if (sum > most) most = sum;
    const pixels = new ImageData(cells, cells);
    for (let k = 0; k < sums.length; k++) {
      pixels.data.set([r, g, b, Math.round(255 * Math.sqrt(sums[k] / (most || 1)))], 4 * k);
    }
    this.image = document.createElement("canvas");
    this.image.width = this.image.height = cells;
    this.image.getContext("2d")!.putImageData(pixels, 0, 0);
  }

  paint(context: CanvasRenderingContext2D, side: number, frame: string): void {
    context.imageSmoothingEnabled = this.cells > side;
    if (this.image) context.drawImage(this.image, 1, 1, side - 2, side - 2);
    context.strokeStyle = frame;
    context.lineWidth = 1;
    context.strokeRect(0.5, 0.5, side - 1, side - 1);
  }

  /** Outline an entry, and shade its row and its column. */
  mark(context: CanvasRenderingContext2D, side: number, entries: [number, number][], colour: string): void {
    const step = (side - 2) / this.cells;
    const at = (i: number) => 1 + Math.floor((i * this.cells) / this.n) * step;
    context.strokeStyle = colour;
    context.lineWidth = 2;
    const wide = Math.max(step, 5);
    for (const [i, j] of entries) context.strokeRect(at(j) + step / 2 - wide / 2, at(i) + step / 2 - wide / 2, wide, wide);
  }

  /** The entry under a point, as (receiver, sender). */
  entryAt(x: number, y: number, side: number): [number, number] {
    const of = (place: number) => Math.max(0, Math.min(this.n - 1, Math.floor(((place - 1) / (side - 2)) * this.n)));
    return [of(y), of(x)];
  }
}
