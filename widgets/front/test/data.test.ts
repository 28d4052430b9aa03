import assert from "node:assert/strict";
import { test } from "node:test";
import { DataState, LAST, alphaAt, alphaText, positionOf, ticks } from "../src/data_state";
import type { Bars } from "../src/messages";

const BARS: Bars = {
  type: "bars", title: "digits", classes: ["a", "b"], n: 2, shown: 2, rules: ["Dirichlet", "at random"], rule: "Dirichlet", alpha: 0.1,
  shards: 0, seed: 0, equal: true, heterogeneity: 0.4, sizes: "", note: "", turn: 0, counts: Uint32Array.of(6, 2, 0, 8, 6, 10),
};

function begun(): { state: DataState; clock: { now: number } } {
  const clock = { now: 0 };
  const state = new DataState(() => clock.now);
  state.take({ ...BARS });
  return { state, clock };
}

test("the controls stand where Python says, and what a rule does not use stays", () => {
  const { state } = begun();
  assert.deepEqual(state.wanted, { rule: "Dirichlet", alpha: 0.1, shards: 2, n: 2, seed: 0, equal: true });
  state.take({ ...BARS, rule: "at random", alpha: 0, turn: 1 });
  assert.equal(state.wanted.rule, "at random");
  assert.equal(state.wanted.alpha, 0.1);
});

test("one deal is on its way at a time, and the last one always arrives", () => {
  const { state, clock } = begun();
  state.want({ alpha: 1 });
  assert.deepEqual(state.message(), { type: "deal", rule: "Dirichlet", alpha: 1, shards: 2, n: 2, seed: 0, equal: true, turn: 1 });
  state.want({ alpha: 2 });
  state.want({ seed: 5 });
  assert.equal(state.message(), null);
  state.take({ ...BARS, alpha: 1, turn: 1 });
  assert.equal(state.wanted.alpha, 2, "the hand is further already");
  assert.equal(state.message()?.turn, 2);
  assert.equal(state.message(), null);
  state.want({ seed: 6 });
  clock.now = 5000; // an answer that never comes
  assert.equal(state.message()?.seed, 6);
});

test("counts are those of nodes, and their mean", () => {
  const { state } = begun();
  assert.deepEqual([state.count(0, 0), state.count(1, 1), state.count(-1, 1)], [6, 8, 5]);
  assert.equal(state.size(1), 8);
  assert.equal(state.said(0), "node 0: 8 samples\nclass a: 6 (75 %)\nclass b: 2 (25 %)");
  assert.equal(state.said(1), "node 1: 8 samples\nclass b: 8 (100 %)");
  assert.equal(state.said(-1, 0), "all nodes together\nclass a: 38 %");
});

test("without Python the slider shows what was dealt beforehand", () => {
  const { state } = begun();
  state.take({ ...BARS, rules: [] });
  assert.deepEqual(state.answers, { alpha: false, all: false });
  state.take({
    type: "deals", alphas: Float64Array.of(0.1, -1), heterogeneities: Float64Array.of(0.4, 0),
    counts: Uint32Array.of(6, 2, 0, 8, 6, 10, 3, 5, 3, 5, 6, 10),
  });
  assert.deepEqual(state.answers, { alpha: true, all: false });
  state.want({ alpha: -1 });
  assert.equal(state.message(), null);
  assert.deepEqual([...state.seen.counts], [3, 5, 3, 5, 6, 10]);
  assert.equal(state.seen.heterogeneity, 0);
});

test("the slider is logarithmic, and ends at infinity", () => {
  assert.deepEqual([0, 8, 16, 24, 32, LAST].map(alphaAt), [0.01, 0.1, 1, 10, 100, -1]);
  for (let position = 0; position <= LAST; position++) assert.equal(positionOf(alphaAt(position)), position);
  assert.deepEqual([positionOf(1e-9), positionOf(1e9)], [0, LAST - 1]);
  assert.deepEqual([-1, 0.1, 1 / 3].map(alphaText), ["∞", "0.1", "0.333"]);
});

test("ticks are round numbers up to the largest", () => {
  assert.deepEqual(ticks(180), [0, 50, 100, 150]);
  assert.deepEqual(ticks(1), [0, 0.2, 0.4, 0.6000000000000001, 0.8, 1]);
  assert.deepEqual(ticks(0), [0]);
});
