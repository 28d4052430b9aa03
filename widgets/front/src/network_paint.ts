// The network on a canvas: lines in few strokes, nodes colour by colour.
import type { Camera } from "./geometry";
import type { NetworkState, Round } from "./network_state";
import { CATEGORIES, SHADES, type Theme, UNKNOWN, VIRIDIS, shade } from "./theme";

const CLASSES = 4; // of widths: one stroke for each
const DISCS = 2.2; // pixels; smaller nodes are squares, which cost a fifth
const TRAVELLERS = 600; // so many messages at most are seen on their way

type Context = CanvasRenderingContext2D;

function strongest(weights: Float32Array): number {
  let most = 0;
  for (const weight of weights) if (weight > most) most = weight;
  return most || 1;
}

function opacity(n: number): number {
  return Math.max(0.16, Math.min(0.8, 9 / Math.sqrt(n)));
}

/** Lines in classes of widths, by the larger of their two weights. */
export function paintRound(context: Context, round: Round, positions: Float32Array, camera: Camera, colour: string, alpha: number, broad: number): void {
  const most = strongest(round.weights);
  const paths = Array.from({ length: CLASSES }, () => new Path2D());
  for (let k = 0; k < round.count; k++) {
    const [a, b] = [round.pairs[2 * k], round.pairs[2 * k + 1]];
    const weight = Math.max(round.weights[2 * k] || 0, round.weights[2 * k + 1] || 0);
    const path = paths[Math.max(0, Math.min(CLASSES - 1, Math.ceil((CLASSES * weight) / most) - 1))];
    path.moveTo(camera.toX(positions[2 * a]), camera.toY(positions[2 * a + 1]));
    path.lineTo(camera.toX(positions[2 * b]), camera.toY(positions[2 * b + 1]));
  }
  context.strokeStyle = colour;
  context.globalAlpha = alpha;
  paths.forEach((path, k) => {
    context.lineWidth = broad * (0.35 + (0.65 * (k + 1)) / CLASSES);
    context.stroke(path);
  });
  context.globalAlpha = 1;
}

/** What changes only when nodes move: all lines of a static topology, faint ones of a schedule. */
export function paintGround(context: Context, state: NetworkState, positions: Float32Array, camera: Camera, theme: Theme): void {
  const graph = state.graph!;
  const broad = graph.n <= 300 ? 2.6 : graph.n <= 2000 ? 1.4 : 0.8;
  if (!state.varying) {
    paintRound(context, state.current(), positions, camera, theme.faint, opacity(graph.n), broad);
    return;
  }
  const pairs = graph.lines;
  const all: Round = { count: pairs.length / 2, pairs, weights: new Float32Array(), own: new Float32Array() };
  paintRound(context, all, positions, camera, theme.faint, 0.5 * opacity(graph.n), 2);
}

export function paintArrows(context: Context, round: Round, positions: Float32Array, camera: Camera, radius: number, colour: string): void {
  context.fillStyle = colour;
  context.beginPath();
  for (let k = 0; k < round.count; k++) {
    const [there, back] = [round.weights[2 * k], round.weights[2 * k + 1]];
    if (!Number.isNaN(there) && !Number.isNaN(back)) continue;
    const [from, to] = Number.isNaN(there) ? [round.pairs[2 * k + 1], round.pairs[2 * k]] : [round.pairs[2 * k], round.pairs[2 * k + 1]];
    const [x, y] = [camera.toX(positions[2 * to]), camera.toY(positions[2 * to + 1])];
    const angle = Math.atan2(y - camera.toY(positions[2 * from + 1]), x - camera.toX(positions[2 * from]));
    const tip = radius + 1;
    context.moveTo(x - tip * Math.cos(angle), y - tip * Math.sin(angle));
    for (const side of [-0.42, 0.42]) {
      context.lineTo(x - tip * Math.cos(angle) - 8 * Math.cos(angle + side), y - tip * Math.sin(angle) - 8 * Math.sin(angle + side));
    }
    context.closePath();
  }
  context.fill();
}

/** Messages on their way: dots at a share of their lines. */
export function paintMessages(context: Context, round: Round, positions: Float32Array, camera: Camera, share: number, colour: string): void {
  if (round.count > TRAVELLERS) return;
  context.fillStyle = colour;
  context.beginPath();
  for (let k = 0; k < round.count; k++) {
    const [a, b] = [round.pairs[2 * k], round.pairs[2 * k + 1]];
    for (const [from, to, weight] of [[a, b, round.weights[2 * k]], [b, a, round.weights[2 * k + 1]]]) {
      if (Number.isNaN(weight)) continue;
      const x = camera.toX(positions[2 * from] + share * (positions[2 * to] - positions[2 * from]));
      const y = camera.toY(positions[2 * from + 1] + share * (positions[2 * to + 1] - positions[2 * from + 1]));
      context.moveTo(x + 3, y);
      context.arc(x, y, 3, 0, 2 * Math.PI);
    }
  }
  context.fill();
}

/** The colours of nodes: as many as there are shades, or states, and one for what is not known. */
class Paints {
  readonly colours: readonly string[];
  readonly dark: readonly boolean[]; // whether white letters are read on it

  constructor(private readonly state: NetworkState) {
    const names = state.values?.names.length;
    this.colours = [...(names ? CATEGORIES : VIRIDIS), UNKNOWN];
    this.dark = names ? CATEGORIES.map(() => false) : VIRIDIS.map((_, k) => k <= 0.6 * SHADES);
  }

  of(values: Float32Array, node: number): number {
    const shown = this.state.values;
    if (!shown) return SHADES / 3;
    const unknown = this.colours.length - 1;
    if (shown.names.length) return values[node] >= 0 ? values[node] % unknown : unknown;
    const k = shade(values[node], shown.low, shown.high);
    return k < 0 ? unknown : k;
  }
}

export function paintNodes(context: Context, state: NetworkState, positions: Float32Array, values: Float32Array, camera: Camera, theme: Theme): void {
  const n = state.graph!.n;
  const radius = camera.radius(n);
  const paints = new Paints(state);
  const buckets: number[][] = paints.colours.map(() => []);
  for (let i = 0; i < n; i++) buckets[Math.floor(paints.of(values, i))].push(i);
  buckets.forEach((nodes, k) => {
    if (!nodes.length) return;
    context.fillStyle = paints.colours[k];
    if (radius < DISCS) {
      for (const i of nodes) {
        context.fillRect(camera.toX(positions[2 * i]) - radius, camera.toY(positions[2 * i + 1]) - radius, 2 * radius, 2 * radius);
      }
      return;
    }
    context.beginPath();
    for (const i of nodes) {
      const [x, y] = [camera.toX(positions[2 * i]), camera.toY(positions[2 * i + 1])];
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 2 * Math.PI);
    }
    context.fill();
    if (radius >= 4) {
      context.strokeStyle = theme.ground; // a rim keeps nodes apart from lines and from each other
      context.lineWidth = 1;
      context.stroke();
    }
  });
  if (radius < 9) return;
  context.font = `600 ${Math.min(radius, theme.size)}px ${theme.font}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let i = 0; i < n; i++) {
    context.fillStyle = paints.dark[Math.floor(paints.of(values, i))] ? "#fff" : "#111";
    context.fillText(String(i), camera.toX(positions[2 * i]), camera.toY(positions[2 * i + 1]) + 0.5);
  }
}

/** The machines around their nodes. */
export function paintMachines(context: Context, state: NetworkState, positions: Float32Array, camera: Camera, theme: Theme): void {
  const { machines, machine, n } = state.graph!;
  machines.forEach((name, k) => {
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    const each = (see: (x: number, y: number) => void) => {
      for (let i = 0; i < n; i++) if (machine[i] === k) see(camera.toX(positions[2 * i]), camera.toY(positions[2 * i + 1]));
    };
    each((x, y) => ([left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)]));
    if (left > right) return;
    const [x, y] = [(left + right) / 2, (top + bottom) / 2];
    let far = 0;
    each((u, v) => (far = Math.max(far, Math.hypot(u - x, v - y))));
    far += camera.radius(n) + 8;
    context.beginPath();
    context.arc(x, y, far, 0, 2 * Math.PI);
    [context.fillStyle, context.strokeStyle, context.lineWidth] = [theme.faint, theme.faint, 1];
    context.globalAlpha = 0.1;
    context.fill();
    context.globalAlpha = 0.5;
    context.stroke();
    context.globalAlpha = 1;
    [context.fillStyle, context.textAlign, context.textBaseline] = [theme.ink, "center", "bottom"];
    context.font = `${0.9 * theme.size}px ${theme.font}`;
    context.fillText(name, x, Math.max(y - far - 2, 1.2 * theme.size));
  });
}
