// From the unit square to the screen and back, and what lies under the pointer.

export class Camera {
  zoom = 1;
  x = 0;
  y = 0;
  width = 1;
  height = 1;
  margin = 22;

  /** Pixels of the unit square's side. */
  get side(): number {
    return Math.max(1, Math.min(this.width, this.height) - 2 * this.margin) * this.zoom;
  }

  toX(x: number): number {
    return this.width / 2 + this.x + (x - 0.5) * this.side;
  }

  toY(y: number): number {
    return this.height / 2 + this.y + (y - 0.5) * this.side;
  }

  fromX(x: number): number {
    return (x - this.width / 2 - this.x) / this.side + 0.5;
  }

  fromY(y: number): number {
    return (y - this.height / 2 - this.y) / this.side + 0.5;
  }

  /** Closer or farther, while the point under the pointer stays where it is. */
  zoomAt(x: number, y: number, factor: number): void {
    const wanted = Math.max(0.3, Math.min(60, this.zoom * factor));
    const actual = wanted / this.zoom;
    this.x = x - this.width / 2 - (x - this.width / 2 - this.x) * actual;
    this.y = y - this.height / 2 - (y - this.height / 2 - this.y) * actual;
    this.zoom = wanted;
  }

  look({ zoom, x, y }: { zoom: number; x: number; y: number }): void {
    [this.zoom, this.x, this.y] = [zoom, x, y];
  }

  reset(): void {
    this.look({ zoom: 1, x: 0, y: 0 });
  }

  radius(n: number): number {
    return Math.max(1.2, Math.min(15, (0.3 * this.side) / Math.sqrt(Math.max(n, 1)) / Math.sqrt(this.zoom)));
  }
}

/** The node within so many pixels of a point, or −1. */
export function nodeAt(camera: Camera, positions: Float32Array, x: number, y: number, reach: number): number {
  let [best, nearest] = [-1, reach * reach];
  for (let i = 0; 2 * i < positions.length; i++) {
    const dx = camera.toX(positions[2 * i]) - x;
    const dy = camera.toY(positions[2 * i + 1]) - y;
    if (dx * dx + dy * dy <= nearest) [best, nearest] = [i, dx * dx + dy * dy];
  }
  return best;
}

/** The number of the line within so many pixels of a point, or −1. */
export function lineAt(camera: Camera, positions: Float32Array, pairs: Uint32Array, x: number, y: number, reach: number): number {
  let [best, nearest] = [-1, reach * reach];
  for (let k = 0; 2 * k < pairs.length; k++) {
    const [a, b] = [pairs[2 * k], pairs[2 * k + 1]];
    const [ax, ay] = [camera.toX(positions[2 * a]), camera.toY(positions[2 * a + 1])];
    const [dx, dy] = [camera.toX(positions[2 * b]) - ax, camera.toY(positions[2 * b + 1]) - ay];
    const along = Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
    const [ex, ey] = [ax + along * dx - x, ay + along * dy - y];
    if (ex * ex + ey * ey < nearest) [best, nearest] = [k, ex * ex + ey * ey];
  }
  return best;
}
