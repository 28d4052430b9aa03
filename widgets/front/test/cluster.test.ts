import assert from "node:assert/strict";
import { test } from "node:test";
import { ClusterState, bytes, doing, seconds } from "../src/cluster_state";
import type { Tile, Tiles } from "../src/messages";

const TILE: Tile = {
  rank: 0, host: "h", pid: 1, gpu: "", threads: 1, memory: 0, gpu_memory: 0, state: "idle", cell: "", seconds: 0,
  operation: "", waits_for: -1, error: "", error_ago: 0,
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

test("who waits says for whom", () => {
  assert.equal(doing({ ...TILE, operation: "barrier", waits_for: 3, cell: "f()" }), "waits for rank 3: barrier");
  assert.equal(doing({ ...TILE, cell: "f()" }), "f()");
});

test("times and sizes are short", () => {
  assert.deepEqual([0, 2.34, 61, 600, 9000, 400_000].map(seconds), ["0.0 s", "2.3 s", "61 s", "10 min", "3 h", "5 days"]);
  assert.deepEqual([2e8, 1.5e9].map(bytes), ["200 MB", "1.5 GB"]);
});
