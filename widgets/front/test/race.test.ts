import assert from "node:assert/strict";
import { test } from "node:test";
import type { RunState } from "../src/messages";
import { RaceState } from "../src/race_state";

/** Runs whose errors fall by a rate in each iteration, each of which costs so many bytes. */
function race(...runners: [number, number][]): RaceState {
  const state = new RaceState();
  const rows = 21;
  const columns = ["iteration", "bytes", "error"];
  const run = (name: string): RunState => ({ name, status: "done", note: "", marks: [], group: "", ghost: false, theory: [], shrinking: [] });
  const numbers = runners.flatMap(([rate, cost]) => [
    ...Array.from({ length: rows }, (_, k) => k),
    ...Array.from({ length: rows }, (_, k) => cost * k),
    ...Array.from({ length: rows }, (_, k) => rate ** k),
  ]);
  state.take({
    type: "rows",
    runs: runners.map((_, k) => run(`run ${k}`)),
    parts: runners.map((_, k) => ({ run: k, first: 0, count: rows, columns })),
    rows: Float64Array.from(numbers),
    part: "curves",
  } as never);
  state.take({ type: "race", by: "iteration", target: 2 ** -10, value: "error", measures: [] });
  return state;
}

const order = (state: RaceState) => state.standings().map(({ rank }) => rank);

test("who is first depends on what is counted", () => {
  const state = race([0.25, 100], [0.5, 10]);
  assert.deepEqual([order(state), state.standings()[0].cost, state.end], [[1, 2], 5, 10]);
  state.take({ ...state.race, by: "bytes" });
  assert.deepEqual([order(state), state.standings()[1].cost, state.curves.x], [[2, 1], 100, "bytes"]);
});

test("a race that is played shows who is ahead at the time", () => {
  const state = race([0.25, 1], [0.5, 1]);
  state.share = 0.5; // five iterations: the first arrives, the second is half way
  const [first, second] = state.standings();
  assert.deepEqual([first.share, first.cost, second.share, second.rank], [1, 5, 0.5, 2]);
  assert.ok(Number.isNaN(second.cost));
  state.share = 0;
  assert.deepEqual(state.standings().map(({ share }) => share), [0, 0]);
});

test("who never arrives, and who has recorded nothing", () => {
  const state = race([0.5, 1], [2, 1]);
  assert.deepEqual(order(state), [1, 2]);
  assert.equal(state.standings()[1].share, 0);
  assert.equal(state.end, 20);
  assert.deepEqual(new RaceState().standings(), []);
});
