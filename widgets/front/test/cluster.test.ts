import assert from "node:assert/strict";
import { test } from "node:test";
import { ClusterState, bytes, doing, seconds } from "../src/cluster_state";
import type { Tile, Tiles } from "../src/messages";

const TILE: Tile = {
  rank: 0, host: "h", pid: 1, gpu: "", threads: 1, memory: 0, gpu_memory: 0, state: "idle", cell: "", seconds: 0,
  operation: "", waits_for: -1, exchanges: 0, told: [], error: "", error_ago: 0,
};

function tiles(phase: string, ...given: Partial<Tile>[]): Tiles {
  const all = given.map((tile, rank) => ({ ...TILE, rank, ...tile }));
  return { type: "tiles", name: "ifog", n: all.length, phase, facts: "", said: "", trouble: "", note: "", tiles: all };
}

test("what can be done depends on how the engines are", () => {
  const state = new ClusterState();
  const can = (message: Tiles) => {
    state.take(message);
    return Object.entries(state.possible).filter(([, possible]) => possible).map(([what]) => what);
  };
  assert.deepEqual(can(tiles("off", {})), ["start"]);
  assert.deepEqual(can(tiles("running", {})), ["restart", "stop"]);
  assert.deepEqual(can(tiles("running", {}, { state: "waiting" })), ["interrupt", "restart", "stop"]);
  assert.deepEqual(can(tiles("broken", { state: "gone" })), ["restart", "stop"]);
  assert.deepEqual(can(tiles("stopping", {})), []);
});

test("one rank is open at a time, and only its own words are shown", () => {
  const state = new ClusterState();
  assert.equal(state.toggle(1), 1);
  state.take({ type: "words", rank: 0, code: "", output: "late", error: "", log: "" });
  assert.equal(state.shown, null);
  state.take({ type: "words", rank: 1, code: "", output: "hello", error: "", log: "" });
  assert.equal(state.words?.rank === 1 && state.shown === state.words, true);
  assert.equal(state.toggle(1), -1);
  assert.equal(state.shown, null);
});

test("a link joins who has told whom, and is lit when one of its ends has spoken since the last look", () => {
  const state = new ClusterState();
  state.take(tiles("running", { exchanges: 4, told: [1] }, { exchanges: 4, told: [0, 2] }, { exchanges: 4 }));
  const [both, one] = [{ a: 0, b: 1, there: true, back: true }, { a: 1, b: 2, there: true, back: false }];
  assert.deepEqual(state.links, [{ ...both, used: false }, { ...one, used: false }]);
  state.take(tiles("running", { exchanges: 9, told: [1] }, { exchanges: 4, told: [0, 2] }, { exchanges: 4 }));
  assert.deepEqual(state.links, [{ ...both, used: true }, { ...one, used: false }]);
  state.take(tiles("running", { exchanges: 1, told: [2] }, { exchanges: 0 }, { exchanges: 0 })); // in a new epoch they count anew
  assert.deepEqual(state.links, [{ a: 0, b: 2, there: true, back: false, used: true }]);
});

test("who can be frozen is one of several on one machine that answers", () => {
  const state = new ClusterState();
  const can = (message: Tiles) => {
    state.take(message);
    return message.tiles.map((tile) => state.freezable(tile));
  };
  const states = ["idle", "busy", "waiting", "frozen", "no answer"].map((each) => ({ state: each }));
  assert.deepEqual(can(tiles("running", ...states)), [true, true, true, false, false]);
  assert.deepEqual(can({ ...tiles("running", {}, {}), facts: "2 engines · on 2 hosts" }), [false, false]);
  assert.deepEqual(can(tiles("running", {})), [false]);
  assert.deepEqual(can(tiles("broken", {}, {})), [false, false]);
});

test("who waits says for whom", () => {
  assert.equal(doing({ ...TILE, operation: "barrier", waits_for: 3, cell: "f()" }), "waits for rank 3: barrier");
  assert.equal(doing({ ...TILE, cell: "f()" }), "f()");
});

test("times and sizes are short", () => {
  assert.deepEqual([0, 2.34, 61, 600, 9000, 400_000].map(seconds), ["0.0 s", "2.3 s", "61 s", "10 min", "3 h", "5 days"]);
  assert.deepEqual([2e8, 1.5e9].map(bytes), ["200 MB", "1.5 GB"]);
});
