import assert from "node:assert/strict";
import { test } from "node:test";
import type { Knob } from "../src/messages";
import { PlaygroundState } from "../src/playground_state";

const KNOBS: Knob[] = [
  { name: "n", texts: ["1", "2", "3", "4"], choice: false },
  { name: "kind", texts: ["ring", "star"], choice: true },
];

function begun(): { state: PlaygroundState; clock: { now: number } } {
  const clock = { now: 0 };
  const state = new PlaygroundState(() => clock.now);
  state.take({ type: "knobs", title: "", knobs: KNOBS, play: 0 });
  state.take({ type: "picture", svg: "first", at: [1, 0], turn: 0 });
  return { state, clock };
}

test("one turn is on its way at a time, and the last one always arrives", () => {
  const { state } = begun();
  state.set(0, 2);
  assert.deepEqual(state.message(), { type: "turned", at: [2, 0], turn: 1 });
  state.set(0, 3);
  state.set(1, 1);
  assert.equal(state.message(), null);
  state.take({ type: "picture", svg: "second", at: [2, 0], turn: 1 });
  assert.deepEqual(state.at, [3, 1]);
  assert.deepEqual(state.message(), { type: "turned", at: [3, 1], turn: 2 });
  assert.equal(state.message(), null);
});

test("an answer that never comes is not waited for forever", () => {
  const { state, clock } = begun();
  state.set(0, 2);
  state.message();
  state.set(0, 3);
  clock.now = 5000;
  assert.equal(state.message()?.turn, 2);
});

test("the picture before a movement stays behind, not those during it", () => {
  const { state, clock } = begun();
  clock.now = 1000;
  state.set(0, 2);
  state.take({ type: "picture", svg: "second", at: [2, 0], turn: state.message()!.turn });
  clock.now = 1100;
  state.set(0, 3);
  assert.equal(state.ghost, "first");
  state.take({ type: "picture", svg: "third", at: [3, 0], turn: state.message()!.turn });
  clock.now = 3000;
  state.set(0, 1);
  assert.equal(state.ghost, "third");
});

test("what runs by itself stops at its end, and begins anew from there", () => {
  const { state } = begun();
  state.togglePlay();
  for (let k = 0; k < 9; k++) state.step();
  assert.deepEqual([state.at[0], state.playing], [3, false]);
  state.togglePlay();
  assert.deepEqual([state.at[0], state.playing], [0, true]);
});

test("a handle that is dragged turns its knob to the nearest position, and sets others", () => {
  const { state } = begun();
  const handle = state.handle({ drag: "n", from: "90", to: "30", set: "kind=star; n=9; size=2" })!;
  assert.deepEqual(handle, { knob: 0, from: 90, to: 30, sets: [[1, 1]] });
  const at = [100, 90, 81, 79, 30, -500].map((y) => {
    state.drag(handle, y);
    return state.at[0];
  });
  assert.deepEqual(at, [0, 0, 0, 1, 3, 3]);
  assert.deepEqual(state.message(), { type: "turned", at: [3, 1], turn: 1 });
});

test("what says that it turns nothing there is cannot be dragged", () => {
  const { state } = begun();
  assert.equal(state.handle({ drag: "size", from: "0", to: "1" }), null);
  assert.equal(state.handle({ drag: "n", from: "5", to: "5" }), null);
  assert.equal(state.handle({ drag: "n", from: "0" }), null);
});

test("what Python turns is shown", () => {
  const { state } = begun();
  state.take({ type: "picture", svg: "new", at: [3, 1], turn: 1 });
  assert.deepEqual([state.svg, state.at], ["new", [3, 1]]);
  state.set(0, 0);
  assert.equal(state.message()?.turn, 2);
});
