import assert from "node:assert/strict";
import { test } from "node:test";
import { Camera, lineAt, nodeAt } from "../src/geometry";
import { sums } from "../src/heatmap";
import type { Graph } from "../src/messages";
import { NetworkState } from "../src/network_state";
import { SHADES, VIRIDIS_RGB, shade, short } from "../src/theme";
import { unpack } from "../src/wire";

const NONE = {
  type: "values" as const, low: 0, high: 1, round: -1, count: -1, log: false, what: "", choices: [], names: [],
  values: new Float32Array(), lit: new Uint32Array(), weights: new Float32Array(), own: new Float32Array(),
};

/** Four nodes; in round 0 the edges 0–1 and 2–3, in round 1 only 1 → 2. */
function graph(changes: Partial<Graph> = {}): Graph {
  return {
    type: "graph", version: 1, n: 4, title: "four", facts: [], note: "", editable: true, directed: false, weighted: true,
    layouts: ["natural", "grid"], layout: "natural",
    positions: Float32Array.of(0, 0, 1, 0, 1, 1, 0, 1),
    lines: Uint32Array.of(0, 1, 1, 2, 2, 3),
    ends: Uint32Array.of(2, 3),
    lit: Uint32Array.of(0, 1, 2, 3, 1, 2),
    weights: Float32Array.of(0.5, 0.5, 0.25, 0.25, 0.75, NaN),
    own: Float32Array.of(0.5, 0.5, 0.75, 0.75, 1, 1, 0.25, 1),
    machines: [], machine: new Uint32Array(4), spectrum: "", eigenvalues: new Float32Array(),
    ...changes,
  };
}

function camera(): Camera {
  return Object.assign(new Camera(), { width: 144, height: 144 }); // 100 pixels between the margins
}

test("a round has its own lines and weights, and comes again", () => {
  const state = new NetworkState();
  state.take(graph());
  assert.equal(state.current().count, 2);
  assert.deepEqual([...state.current().own], [0.5, 0.5, 0.75, 0.75]);
  state.goTo(1);
  assert.deepEqual([...state.current().pairs], [1, 2]);
  assert.deepEqual(state.weightsBetween(1, 2), [0.75, NaN]);
  assert.deepEqual(state.weightsBetween(2, 1), [NaN, 0.75]);
  state.goTo(4);
  assert.equal(state.current().count, 2);
});

test("values of another number of nodes are ignored", () => {
  const state = new NetworkState();
  state.take(graph());
  state.take({ ...NONE, values: new Float32Array(3) });
  assert.equal(state.values, null);
  state.take({ ...NONE, values: new Float32Array(4) });
  assert.equal(state.values!.values.length, 4);
});

test("a live round is followed, and may bring lines that were not known", () => {
  const state = new NetworkState();
  state.take(graph());
  state.playing = true;
  const beyond = { lit: Uint32Array.of(0, 3), weights: Float32Array.of(0.5, 0.5), own: new Float32Array(4) };
  state.take({ ...NONE, round: 70, count: 70, values: new Float32Array(4), ...beyond });
  assert.equal(state.playing, false);
  assert.deepEqual([...state.current().pairs], [0, 3]);
});

test("rows and columns are summed as W has them", () => {
  const state = new NetworkState();
  state.take(graph());
  assert.deepEqual(sums(4, state.current()).map((each) => [...each]), [[1, 1, 1, 1], [1, 1, 1, 1]]);
  state.goTo(1); // only 1 → 2, with 0.75: row 2 and column 1
  assert.deepEqual(sums(4, state.current()).map((each) => [...each]), [[1, 1, 1, 1], [1, 1.75, 0.25, 1]]);
});

test("colours go over to the next values as fast as these come, and states do not", () => {
  const state = new NetworkState();
  state.take(graph());
  state.take({ ...NONE, values: Float32Array.of(0, 0, 0, 0) });
  state.take({ ...NONE, values: Float32Array.of(1, 1, 1, 4) });
  [state.came, state.pace] = [1000, 100];
  assert.deepEqual([...state.faded(1050).values], [0.5, 0.5, 0.5, 2]);
  assert.deepEqual([...state.faded(1200).values], [1, 1, 1, 4]);
  state.take({ ...NONE, values: Float32Array.of(0, 1, 0, 1), names: ["busy", "idle"] });
  assert.equal(state.faded(performance.now()).share, 1);
});

test("a topology with another number of nodes forgets values, and what was pointed at", () => {
  const state = new NetworkState();
  state.take(graph());
  state.look({ kind: "node", node: 3 });
  state.take(graph({ n: 2, positions: Float32Array.of(0, 0, 1, 1) }));
  assert.equal(state.spot, null);
});

test("a new layout glides from the old one", () => {
  const state = new NetworkState();
  state.take(graph());
  const before = state.positions;
  state.take({ type: "places", layout: "grid", positions: new Float32Array(8) });
  assert.equal(state.from, before);
  assert.equal(state.graph!.layout, "grid");
});

test("listeners hear, until they end it", () => {
  const state = new NetworkState();
  const heard: string[] = [];
  const end = state.subscribe((change) => heard.push(change));
  state.take(graph());
  end();
  state.goTo(3);
  assert.deepEqual(heard, ["all"]);
});

test("the camera goes to the screen and back, and zooms around the pointer", () => {
  const view = camera();
  assert.equal(view.toX(0), 22);
  assert.equal(view.toY(1), 122);
  assert.ok(Math.abs(view.fromX(view.toX(0.3)) - 0.3) < 1e-12);
  const under = [view.fromX(40), view.fromY(90)];
  view.zoomAt(40, 90, 3);
  assert.ok(Math.abs(view.fromX(40) - under[0]) < 1e-12 && Math.abs(view.fromY(90) - under[1]) < 1e-12);
});

test("the pointer finds nodes and lines within reach only", () => {
  const { positions, lines } = graph();
  assert.equal(nodeAt(camera(), positions, 120, 24, 7), 1);
  assert.equal(nodeAt(camera(), positions, 72, 72, 7), -1);
  assert.equal(lineAt(camera(), positions, lines, 72, 24, 6), 0);
  assert.equal(lineAt(camera(), positions, lines, 20, 72, 6), -1);
});

test("messages are unpacked wherever their numbers begin", () => {
  const bytes = new ArrayBuffer(13);
  new Float32Array(bytes, 4, 2).set([1.5, -2]);
  const [shifted, empty] = [new DataView(bytes, 4, 8), new DataView(new ArrayBuffer(0))];
  const message = unpack({ type: "values" }, [shifted, empty, empty, empty]);
  assert.ok(message?.type === "values");
  assert.deepEqual([...message.values], [1.5, -2]);
  assert.equal(unpack({ type: "from another version" }, []), null);
});

test("colours: the ends of viridis, and a place for what is no number", () => {
  assert.deepEqual([VIRIDIS_RGB[0], VIRIDIS_RGB[SHADES - 1]], [[68, 1, 84], [253, 231, 37]]);
  assert.deepEqual([shade(0, 0, 1), shade(1, 0, 1), shade(9, 0, 1), shade(5, 5, 5)], [0, SHADES - 1, SHADES - 1, 0]);
  assert.deepEqual([shade(NaN, 0, 1), shade(Infinity, 0, 1)], [-1, -1]);
  assert.deepEqual([short(-0.25), short(1e-7), short(Infinity)], ["−0.25", "1.00e−7", "∞"]);
});
