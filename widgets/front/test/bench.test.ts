import assert from "node:assert/strict";
import { test } from "node:test";
import { BenchState, startSays } from "../src/bench_state";
import { stepOf, valueAt } from "../src/dial";
import type { Bench } from "../src/messages";

const BENCH: Bench = {
  type: "bench", problem: "least_squares", method: "dgd", topology: "ring", n: 8, fixed: false, heterogeneity: 1, place: "", pace: 20,
  dials: [], about: "", status: "", iteration: 0, speed: 0, pending: [], later: [], said: "", trouble: false,
};

test("a message goes to the part that it is for", () => {
  const state = new BenchState();
  let told = 0;
  state.subscribe(() => (told += 1));
  state.take({ type: "curves", y: "loss", x: "bytes", log: false, part: "curves" } as never);
  assert.deepEqual([state.curves.y, state.curves.x, told], ["loss", "bytes", 0]);
  state.take(BENCH);
  assert.deepEqual([state.bench, told], [BENCH, 1]);
});

test("a topology that was drawn is among those to choose from", () => {
  const state = new BenchState();
  state.take({ ...BENCH, topology: "drawn" });
  state.take({ type: "choices", problems: [], methods: [], topologies: [{ name: "ring", unfit: "" }], places: [] });
  assert.deepEqual(state.topologies.map(({ name }) => name), ["drawn", "ring"]);
  state.take(BENCH);
  assert.deepEqual(state.topologies.map(({ name }) => name), ["ring"]);
});

test("the button says what it does", () => {
  const says = (change: Partial<Bench>) => startSays({ ...BENCH, ...change });
  assert.deepEqual([says({}), says({ status: "running" }), says({ status: "paused" })], ["Start", "Start anew", "Go on"]);
  assert.equal(says({ status: "paused", later: ["method"] }), "Start anew");
});

test("a dial's steps are values and back", () => {
  const lr = { name: "lr", low: 1e-4, high: 1, log: true, whole: false, about: "" };
  assert.deepEqual([valueAt(0, lr), valueAt(100, lr), valueAt(200, lr)], [1e-4, 0.01, 1]);
  assert.deepEqual([stepOf(0.01, lr), stepOf(0, lr), stepOf(99, lr)], [100, 0, 200]);
  const H = { ...lr, low: 1, high: 50, log: false, whole: true };
  assert.deepEqual([valueAt(0, H), valueAt(stepOf(12, H), H), valueAt(200, H)], [1, 12, 50]);
});
