import assert from "node:assert/strict";
import { test } from "node:test";
import { CurvesState, decades } from "../src/curves_state";
import type { Part, RunState } from "../src/messages";

const RUN: RunState = { name: "dgd", status: "running", note: "", marks: [], theory: [], shrinking: ["error"], group: "", ghost: false };
const COLUMNS = ["iteration", "error", "bytes"];

/** Rows of one run: iteration, error, bytes. */
function rows(state: CurvesState, first: number, table: number[][], run: Partial<RunState> = {}, at = 0): void {
  const part: Part = { run: at, first, count: table.length, columns: COLUMNS };
  const runs = [...state.runs];
  for (let k = 0; k <= at; k++) runs[k] ??= { ...RUN };
  runs[at] = { ...RUN, ...run };
  state.take({ type: "rows", runs, parts: [part], rows: Float64Array.from(COLUMNS.flatMap((_, k) => table.map((row) => row[k]))) });
}

test("rows are appended, and what was sent before is replaced", () => {
  const state = new CurvesState();
  rows(state, 0, [[0, 1, 0], [1, 0.5, 8]]);
  rows(state, 2, [[2, 0.25, 16]]);
  assert.deepEqual(state.line(0), [[0, 1, 2], [1, 0.5, 0.25]]);
  rows(state, 0, [[0, 1, 0], [2, 0.25, 16]]); // thinned out
  assert.deepEqual(state.line(0), [[0, 2], [1, 0.25]]);
  rows(state, 7, [[9, 0.1, 99]]); // some were missed
  assert.deepEqual(state.line(0)[0], [0, 2]);
});

test("parts of several runs share one buffer", () => {
  const state = new CurvesState();
  const part = (run: number): Part => ({ run, first: 0, count: 1, columns: ["iteration", "error"] });
  state.take({ type: "rows", runs: [RUN, RUN], parts: [part(0), part(1)], rows: Float64Array.of(0, 1, 0, 2) });
  assert.deepEqual([state.line(0)[1], state.line(1)[1]], [[1], [2]]);
});

test("what cannot be drawn is a gap", () => {
  const state = new CurvesState();
  rows(state, 0, [[0, 1, 0], [1, NaN, 1], [2, Infinity, 2], [3, 0, 3], [4, -1, 4], [NaN, 5, 5]]);
  assert.deepEqual(state.line(0), [[0, 1, 2, 3, 4], [1, null, null, null, null]]);
  state.log = false;
  assert.deepEqual(state.line(0)[1], [1, null, null, 0, -1]);
});

test("an empty run has no line, no mark and no last value", () => {
  const state = new CurvesState();
  state.take({ type: "rows", runs: [{ ...RUN, status: "waiting", marks: [{ at: 0, what: "x" }] }], parts: [], rows: new Float64Array() });
  assert.deepEqual([state.line(0), state.marks(0), state.last(0)], [[[], []], [], NaN]);
});

test("marks stand at their iteration, whatever the lower axis is", () => {
  const state = new CurvesState();
  rows(state, 0, [[0, 1, 0], [10, 0.5, 80], [20, 0.2, 160]], { marks: [{ at: 7, what: "ring(8)" }, { at: 99, what: "later" }] });
  assert.deepEqual(state.marks(0), [{ x: 10, what: "ring(8)" }]);
  state.x = "bytes";
  assert.deepEqual(state.marks(0), [{ x: 80, what: "ring(8)" }]);
});

test("the usual value is drawn unless another was asked for", () => {
  const state = new CurvesState();
  state.take({ type: "curves", y: "", x: "bytes", log: true, band: true });
  const part: Part = { run: 0, first: 0, count: 1, columns: ["iteration", "error", "loss", "bytes"] };
  state.take({ type: "rows", runs: [RUN], parts: [part], rows: Float64Array.of(0, NaN, 3, 8) });
  assert.equal(state.y, "loss");
  assert.deepEqual([state.metrics, state.axes], [["error", "loss"], ["iteration", "bytes"]]);
  state.y = "error";
  assert.equal(state.y, "error");
});

test("a click shows one run alone, another click all", () => {
  const state = new CurvesState();
  state.take({ type: "rows", runs: [{ ...RUN, ghost: true }, RUN, RUN], parts: [], rows: new Float64Array() });
  const seen = () => state.entries().map((entry) => state.shown(entry));
  state.isolate("run 1");
  assert.deepEqual(seen(), [true, true, false]); // a ghost stays, to compare with
  state.isolate("run 1");
  assert.deepEqual(seen(), [true, true, true]);
  state.isolate("run of a group that there is no more");
  assert.deepEqual(seen(), [true, true, true]);
});

test("runs that differ in their seed only are a mean in a band, between their points too", () => {
  const state = new CurvesState();
  rows(state, 0, [[0, 1, 0], [1, 0.5, 8], [2, 0.25, 16]], { group: "dgd, 2 seeds" });
  rows(state, 0, [[0, 3, 0], [2, 0.75, 16], [4, 0.1, 32]], { group: "dgd, 2 seeds" }, 1);
  rows(state, 0, [[0, 9, 0]], {}, 2);
  assert.deepEqual(state.entries().map(({ name, runs }) => [name, runs]), [["dgd, 2 seeds", [0, 1]], ["dgd", [2]]]);
  assert.deepEqual(state.bandOf([0, 1]), [[0, 1, 2], [2, 1.1875, 0.5], [1, 0.5, 0.25], [3, 1.875, 0.75]]);
  state.band = false;
  assert.equal(state.entries().length, 3);
});

test("theory begins at a value that was seen, and anew where the topology was swapped", () => {
  const state = new CurvesState();
  const theory = [{ at: 0, rate: 0.5 }, { at: 2, rate: 0.1 }];
  rows(state, 0, [[0, 8, 0], [1, 3, 8], [2, 1, 16], [3, 0.05, 24]], { theory });
  assert.deepEqual(state.theory(0, 0), [[0, 1, 2, 2, 3], [8, 4, 2, 1, 0.1]]);
  assert.deepEqual(state.theory(0, 3), [[0, 1], [8, 4]]); // it must not stretch the axis
  state.y = "bytes";
  assert.deepEqual(state.theory(0, 0), [[], []]);
});

test("a logarithmic lower axis begins after zero", () => {
  const state = new CurvesState();
  rows(state, 0, [[0, 1, 0], [1, 0.5, 8]]);
  state.logX = true;
  assert.deepEqual(state.line(0), [[1], [0.5]]);
});

test("a run that failed does not squeeze the others", () => {
  const state = new CurvesState();
  rows(state, 0, [[0, 1e300, 0]], { status: "failed" });
  assert.equal(state.ceiling, Infinity);
  rows(state, 0, [[0, 2, 0]], {}, 1);
  assert.equal(state.ceiling, 20);
});

test("ticks are powers of ten, fewer on a long axis and more on a short one", () => {
  assert.deepEqual(decades(1e-3, 10), [1e-3, 1e-2, 1e-1, 1, 10]);
  assert.deepEqual(decades(0.15, 1.2), [0.2, 0.5, 1]);
  assert.ok(decades(1e-14, 1e300).length <= 8);
});
