// Pointer and keyboard on the network: look, drag, connect, remove, pan and zoom.
import { type Camera, lineAt, nodeAt } from "./geometry";
import type { FromThePage } from "./messages";
import type { NetworkState } from "./network_state";

interface Grip {
  kind: "node" | "edge" | "pan";
  node: number;
  x: number;
  y: number;
  moved: boolean;
}

export class Hands {
  /** The line being pulled from a node to the pointer. */
  pulled: { from: number; x: number; y: number } | null = null;
  /** From where the keyboard begins an edge. */
  anchor = -1;
  private grip: Grip | null = null;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly state: NetworkState,
    private readonly camera: Camera,
    private readonly send: (message: FromThePage) => void,
    private readonly said: (text: string) => void,
  ) {
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => this.letGo());
    canvas.addEventListener("pointerleave", () => !this.grip && state.look(null));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  private get reach(): number {
    return Math.max(7, this.camera.radius(this.state.graph!.n) + 3);
  }

  private under(x: number, y: number): void {
    const { graph, positions } = this.state;
    const node = nodeAt(this.camera, positions, x, y, this.reach);
    if (node >= 0) return this.state.look({ kind: "node", node });
    const pairs = this.state.current().pairs;
    const line = graph!.n <= 5000 ? lineAt(this.camera, positions, pairs, x, y, 6) : -1;
    this.state.look(line < 0 ? null : { kind: "line", a: pairs[2 * line], b: pairs[2 * line + 1] });
  }

  private down(event: PointerEvent): void {
    if (!this.state.graph || event.button !== 0) return;
    const [x, y] = [event.offsetX, event.offsetY];
    this.under(x, y);
    const { spot, tool } = this.state;
    if (tool === "remove") return this.remove();
    const node = spot?.kind === "node" ? spot.node : -1;
    const kind = node < 0 ? "pan" : tool === "add" ? "edge" : "node";
    this.grip = { kind, node, x, y, moved: false };
    this.canvas.setPointerCapture(event.pointerId);
  }

  private move(event: PointerEvent): void {
    if (!this.state.graph) return;
    const [x, y] = [event.offsetX, event.offsetY];
    const grip = this.grip;
    if (!grip) return this.under(x, y);
    grip.moved ||= Math.hypot(x - grip.x, y - grip.y) > 3;
    if (!grip.moved) return;
    if (grip.kind === "pan") {
      this.camera.x += x - grip.x;
      this.camera.y += y - grip.y;
      [grip.x, grip.y] = [x, y];
    } else if (grip.kind === "node") {
      this.state.from = null;
      this.state.positions[2 * grip.node] = this.camera.fromX(x);
      this.state.positions[2 * grip.node + 1] = this.camera.fromY(y);
    } else {
      this.pulled = { from: grip.node, x, y };
    }
    this.state.tell("moving");
  }

  private up(event: PointerEvent): void {
    const { grip, state } = this;
    const [x, y] = [event.offsetX, event.offsetY];
    this.letGo();
    if (!grip || !state.graph) return;
    if (grip.kind === "node" && grip.moved) {
      const [px, py] = state.positions.subarray(2 * grip.node, 2 * grip.node + 2);
      this.send({ type: "moved", version: state.graph.version, node: grip.node, x: px, y: py });
    } else if (grip.kind === "edge" && grip.moved) {
      const to = nodeAt(this.camera, state.positions, x, y, this.reach + 4);
      if (to >= 0) this.connect(grip.node, to);
    } else if (grip.kind === "pan" && !grip.moved && state.tool === "add") {
      this.edit("add_node", -1, -1, this.camera.fromX(x), this.camera.fromY(y));
    }
    state.tell("places");
  }

  private letGo(): void {
    [this.grip, this.pulled] = [null, null];
  }

  private wheel(event: WheelEvent): void {
    // a page that is scrolled past must not zoom: only what was clicked, or a pinch
    if (document.activeElement !== this.canvas && !event.ctrlKey) return;
    event.preventDefault();
    this.camera.zoomAt(event.offsetX, event.offsetY, Math.exp(-event.deltaY / 400));
    this.state.tell("moving");
  }

  private connect(a: number, b: number): void {
    if (a === b) return;
    if (this.state.joined(a, b)) return this.said(`${a} and ${b} are joined already`);
    this.edit("add_edge", a, b);
    this.state.waiting.push([a, b]);
  }

  private remove(): void {
    const spot = this.state.spot;
    if (spot?.kind === "node") this.edit("remove_node", spot.node, -1);
    else if (spot) this.edit("remove_edge", spot.a, spot.b);
  }

  private edit(what: string, a: number, b: number, x = 0.5, y = 0.5): void {
    const graph = this.state.graph!;
    if (!graph.editable) return this.said("only a topology that is the same in all rounds can be changed here");
    this.send({ type: "edit", version: graph.version, what, a, b, x, y });
    this.said(what.replace("_", " "));
  }

  private key(event: KeyboardEvent): void {
    const { state, camera } = this;
    if (!state.graph || event.ctrlKey || event.metaKey || event.altKey) return;
    const n = state.graph.n;
    const at = state.spot?.kind === "node" ? state.spot.node : -1;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      state.look({ kind: "node", node: at < 0 ? 0 : (at + step + n) % n });
    } else if (event.key === "Enter" && at >= 0) {
      if (this.anchor < 0) {
        this.anchor = at;
        this.said(`edge from ${at}: choose the other end, then Enter`);
      } else {
        const from = this.anchor;
        this.anchor = -1;
        if (state.joined(from, at)) this.edit("remove_edge", from, at);
        else this.connect(from, at);
      }
    } else if (event.key === "Escape") {
      this.anchor = -1;
      state.look(null);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.remove();
    } else if (event.key === "n") {
      this.edit("add_node", -1, -1, 0.5, 0.5);
    } else if (event.key === "+" || event.key === "-") {
      camera.zoomAt(camera.width / 2, camera.height / 2, event.key === "+" ? 1.25 : 0.8);
    } else if (event.key === "0") {
      camera.reset();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation(); // the notebook has meanings of its own for these keys
    state.tell("places");
  }
}
