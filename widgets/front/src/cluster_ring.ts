// Who talks to whom: the ranks on a circle, and lines that light up when they are used.
import type { ClusterState, Link } from "./cluster_state";
import { shape } from "./dom";
import type { Tiles } from "./messages";

const SIZE = 150;
const HEAD = 6;

/** How large the nodes are, and how far from the middle. */
interface Plan {
  n: number;
  size: number;
  radius: number;
}

export class Ring {
  private readonly lines = shape("g", {});
  private readonly nodes = shape("g", {});
  readonly root = shape(
    "svg",
    { class: "ifog-ring", viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": "the ranks, and to whom each has given its last tensor" },
    this.lines,
    this.nodes,
  );
  private shown: Tiles | null = null;

  write(state: ClusterState): void {
    const { seen } = state;
    this.root.toggleAttribute("hidden", !state.round);
    if (!state.round || seen === this.shown) return; // else it would light up again without a reason
    this.shown = seen;
    const size = seen.n > 12 ? 6.5 : 11;
    const plan = { n: seen.n, size, radius: SIZE / 2 - size - 2 };
    this.lines.replaceChildren(...state.links.map((link) => line(link, plan)));
    this.nodes.replaceChildren(
      ...seen.tiles.map(({ rank, state }) => {
        const [x, y] = place(rank, plan);
        const number = shape("text", { x, y, dy: "0.35em", "font-size": size > 10 ? 11 : 7.5 }, String(rank));
        return shape("g", { "data-state": state }, shape("circle", { cx: x, cy: y, r: size }), number);
      }),
    );
  }
}

function place(rank: number, { n, radius }: Plan): [number, number] {
  const turn = (2 * Math.PI * rank) / n;
  return [SIZE / 2 + radius * Math.sin(turn), SIZE / 2 - radius * Math.cos(turn)];
}

/** From edge to edge of two nodes; with a head if only one speaks to the other. */
function line({ a, b, there, back, used }: Link, plan: Plan): SVGElement {
  const [from, to] = there ? [place(a, plan), place(b, plan)] : [place(b, plan), place(a, plan)];
  const room = plan.size + 1.5;
  const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
  const [u, v] = [(to[0] - from[0]) / length, (to[1] - from[1]) / length];
  const [x, y] = [to[0] - room * u, to[1] - room * v];
  const h = Math.min(HEAD, 0.6 * (length - 2 * room));
  const head = `M${x} ${y}l${-h * (u - v / 2)} ${-h * (v + u / 2)}l${-h * v} ${h * u}z`;
  const d = `M${from[0] + room * u} ${from[1] + room * v}L${x} ${y}${there && back ? "" : head}`;
  return shape("path", { d, class: used ? "used" : "" });
}
