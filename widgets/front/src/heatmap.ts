// W beside the network: a picture of its entries, rows receive and columns send.
import type { Round } from "./network_state";
import { LESS, MORE } from "./theme";

const CELLS = 400; // a larger W is shown in so many blocks a side
const RIBBON = 8; // pixels: what the rows and the columns sum to
const ROUNDING = 1e-5; // weights are numbers of four bytes

/** What each row of W sums to, and each column. */
export function sums(n: number, round: Round): [Float32Array, Float32Array] {
  const [rows, columns] = [Float32Array.from(round.own), Float32Array.from(round.own)];
  const add = (i: number, j: number, weight: number) => {
    rows[i] += weight || 0; // NaN: nothing is sent
    columns[j] += weight || 0;
  };
  for (let k = 0; k < round.count; k++) {
    const [a, b] = [round.pairs[2 * k], round.pairs[2 * k + 1]];
    add(b, a, round.weights[2 * k]);
    add(a, b, round.weights[2 * k + 1]);
  }
  return rows.length === n ? [rows, columns] : [new Float32Array(n), new Float32Array(n)];
}

export class HeatMap {
  cells = 1;
  n = 1;
  rows: Float32Array = new Float32Array();
  columns: Float32Array = new Float32Array();
  private image: HTMLCanvasElement | null = null;

  /** Pixels of W's side on a square canvas; the rest is for the sums. */
  side(width: number): number {
    return this.rows.length ? width - RIBBON - 3 : width;
  }

  /** The picture of a round. */
  ofRound(n: number, round: Round, colour: [number, number, number]): void {
    const cells = Math.min(n, CELLS);
    const shades = new Float32Array(cells * cells);
    const at = (i: number, j: number) => Math.floor((i * cells) / n) * cells + Math.floor((j * cells) / n);
    for (let i = 0; i < round.own.length; i++) shades[at(i, i)] += Math.abs(round.own[i]);
    for (let k = 0; k < round.count; k++) {
      const [a, b] = [round.pairs[2 * k], round.pairs[2 * k + 1]];
      shades[at(b, a)] += Math.abs(round.weights[2 * k] || 0);
      shades[at(a, b)] += Math.abs(round.weights[2 * k + 1] || 0);
    }
    this.ofBlocks(n, cells, shades, colour);
    [this.rows, this.columns] = sums(n, round);
  }

  /** The picture of sums that are known already. */
  ofBlocks(n: number, cells: number, sums: Float32Array, [r, g, b]: [number, number, number]): void {
    [this.n, this.cells] = [n, cells];
    this.rows = this.columns = new Float32Array();
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

  paint(context: CanvasRenderingContext2D, width: number, frame: string): void {
    const side = this.side(width);
    if (this.rows.length) {
      this.ribbon(context, this.rows, (k, step) => [side + 2, 1 + k * step, RIBBON, step], side, frame);
      this.ribbon(context, this.columns, (k, step) => [1 + k * step, side + 2, step, RIBBON], side, frame);
    }
    context.imageSmoothingEnabled = this.cells > side;
    if (this.image) context.drawImage(this.image, 1, 1, side - 2, side - 2);
    context.strokeStyle = frame;
    context.lineWidth = 1;
    context.strokeRect(0.5, 0.5, side - 1, side - 1);
  }

  /** Sums of weights: faint where they are one; where they are more or less, in colour, the more the stronger. */
  private ribbon(
    context: CanvasRenderingContext2D,
    sums: Float32Array,
    place: (k: number, step: number) => [number, number, number, number],
    side: number,
    faint: string,
  ): void {
    const cells = Math.min(this.n, CELLS);
    const step = (side - 2) / cells;
    for (let k = 0; k < cells; k++) {
      const [begin, end] = [Math.floor((k * this.n) / cells), Math.floor(((k + 1) * this.n) / cells)];
      let worst = 1; // of the rows in a block
      for (let i = begin; i < end; i++) if (Math.abs(sums[i] - 1) > Math.abs(worst - 1)) worst = sums[i];
      const off = Math.min(1, 2 * Math.abs(worst - 1));
      context.fillStyle = off <= ROUNDING ? faint : worst > 1 ? MORE : LESS;
      context.globalAlpha = off <= ROUNDING ? 0.3 : 0.3 + 0.7 * off;
      const [x, y, wide, high] = place(k, step);
      context.fillRect(x, y, Math.max(wide, 0.5), Math.max(high, 0.5));
    }
    context.globalAlpha = 1;
  }

  /** Outline an entry, and shade its row and its column. */
  mark(context: CanvasRenderingContext2D, width: number, entries: [number, number][], colour: string): void {
    const side = this.side(width);
    const step = (side - 2) / this.cells;
    const at = (i: number) => 1 + Math.floor((i * this.cells) / this.n) * step;
    context.strokeStyle = colour;
    context.lineWidth = 2;
    const wide = Math.max(step, 5);
    for (const [i, j] of entries) context.strokeRect(at(j) + step / 2 - wide / 2, at(i) + step / 2 - wide / 2, wide, wide);
  }

  /** The entry under a point, as (receiver, sender). */
  entryAt(x: number, y: number, width: number): [number, number] {
    const side = this.side(width);
    const of = (place: number) => Math.max(0, Math.min(this.n - 1, Math.floor(((place - 1) / (side - 2)) * this.n)));
    return [of(y), of(x)];
  }
}
