import assert from "node:assert/strict";
import { test } from "node:test";
import type { Trace, What } from "../src/messages";
import { NOTHING, TimelineState, duration, lowest, size, ticks } from "../src/timeline_state";

const KINDS = ["wait", "copy", "send", "span", "under way", "other"];
const WHAT: What = { row: 0, lane: 0, kind: 1, name: "call", call: "", bytes: 0, peer: -1, error: "" };

/** Segments as [begin, length, what], messages as [lent, found, from, to]. */
function trace(segments: [number, number, Partial<What>?][], messages: number[][] = [], end = 100): Trace {
  const whats = segments.map(([, , what]) => ({ ...WHAT, ...what }));
  const row = { note: "", compute: 0, wait: 0, copy: 0 };
  return {
    type: "trace", title: "t", note: "", end, live: false, kinds: KINDS, whats,
    rows: [{ ...row, name: "rank 0", lanes: 1 }, { ...row, name: "rank 1", lanes: 2 }],
    begin: Float64Array.from(segments, ([begin]) => begin),
    length: Float32Array.from(segments, ([, length]) => length),
    what: Uint32Array.from(segments, (_, k) => k),
    lent: Float64Array.from(messages, (m) => m[0]),
    found: Float64Array.from(messages, (m) => m[1]),
    ends: Uint32Array.from(messages.flatMap((m) => m.slice(2))),
    sizes: new Float32Array(messages.length),
  };
}

function shown(...given: Parameters<typeof trace>): TimelineState {
  const state = new TimelineState();
  state.take(trace(...given));
  return state;
}

test("narrow segments fill their share of the pixels, wide ones are drawn", () => {
  const segments: [number, number][] = Array.from({ length: 1000 }, (_, k) => [k / 10, 0.05]);
  const state = shown([...segments.slice(0, 500), [50, 20], ...segments.slice(700)]);
  const { wide, shares } = state.bars(state.layers[0], 100);
  assert.deepEqual(wide, [500]);
  assert.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 800 * 0.05) < 1e-3);
  assert.ok(shares.slice(0, 49).every((share) => Math.abs(share - 0.5) < 1e-3));
  assert.ok(shares.slice(51, 69).every((share) => share === 0));
});

test("only what is looked at is drawn", () => {
  const state = shown([[0, 10], [20, 10], [40, 10], [60, 10]]);
  state.look(25, 45);
  assert.deepEqual(state.bars(state.layers[0], 200).wide, [1, 2]);
});

test("no zoom and no move leads out of the trace", () => {
  const state = shown([[0, 100]]);
  state.zoom(4, 90);
  assert.deepEqual([state.from, state.to], [67.5, 92.5]);
  state.move(10);
  assert.deepEqual([state.from, state.to], [75, 100]);
  state.move(-10);
  assert.deepEqual([state.from, state.to], [0, 25]);
  state.zoom(0.001, 3);
  assert.deepEqual([state.from, state.to], [0, 100]);
  state.zoom(1e12, 50);
  assert.ok(state.to - state.from > 0.01);
});

test("a wait is found upon the call that waits, and the call beside it", () => {
  const state = shown([[0, 50], [10, 20, { kind: 0 }], [60, 5, { lane: 1 }]]);
  assert.equal(state.find(0, 0, 15, 0), 1);
  assert.equal(state.find(0, 0, 5, 0), 0);
  assert.equal(state.find(0, 1, 15, 0), NOTHING);
  assert.equal(state.find(0, 1, 59, 2), 2);
  assert.equal(state.callOf(1), 0);
  assert.deepEqual([state.firstWait(0, 0, 0), state.firstWait(0, 0, 11)], [10, Infinity]);
});

test("a message is visible as long as a part of it is, also a long one", () => {
  const messages = [[0, 90, 0, 1], [10, 12, 1, 0], [50, 51, 0, 1], [80, 95, 1, 0]];
  const state = shown([[0, 100], [0, 100, { row: 1 }]], messages);
  state.look(40, 60);
  assert.deepEqual(state.arrows(), [0, 2]);
  state.fit();
  assert.deepEqual(state.arrows(), [0, 1, 2, 3]);
  assert.deepEqual(state.arrowsOf(0), [0, 1, 2, 3]);
});

test("the keyboard goes through the events of a row in the order of time", () => {
  const state = shown([[0, 50], [10, 20, { kind: 0 }], [40, 5, { row: 1 }], [60, 5, { lane: 1 }]]);
  state.spot = state.next(1);
  assert.equal(state.spot, 0);
  state.spot = state.next(1);
  state.spot = state.next(1);
  assert.equal(state.spot, 3);
  assert.equal(state.next(1), 3);
  assert.equal(state.next(-1), 1);
  state.row = 1;
  assert.equal(state.next(1), 2);
});

test("what is looked at stays when the same trace comes again, and follows one that goes on", () => {
  const state = shown([[0, 100]]);
  state.look(90, 100);
  state.take(trace([[0, 100]]));
  assert.deepEqual([state.from, state.to], [90, 100]);
  state.take({ ...trace([[0, 150]], [], 150), live: true });
  assert.deepEqual([state.from, state.to], [140, 150]);
});

test("an empty trace can be looked at", () => {
  const state = shown([], [], 0);
  state.zoom(2, 0);
  assert.deepEqual([state.layers, state.arrows(), state.next(1), state.find(0, 0, 0, 1)], [[], [], NOTHING, NOTHING]);
});

test("the file that was asked for goes to the one who asked, once", () => {
  const state = shown([]);
  const got: string[] = [];
  state.saving = (file) => got.push(file.name);
  for (let k = 0; k < 2; k++) state.take({ type: "file", name: "a.json", text: "" });
  assert.deepEqual(got, ["a.json"]);
});

test("times, sizes and ticks as one reads them", () => {
  assert.deepEqual([0, 0.25, 1.5, 1500, 2_500_000].map(duration), ["0", "250 ns", "1.5 µs", "1.5 ms", "2.5 s"]);
  assert.deepEqual([12, 3600, 2_500_000].map(size), ["12 bytes", "3.6 kB", "2.5 MB"]);
  assert.deepEqual(ticks(3, 101, 5), [20, 40, 60, 80, 100]);
  assert.equal(lowest(10, (i) => i >= 7), 7);
});
