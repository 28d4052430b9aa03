// One view of curves: uPlot draws them, the controls and the legend are around it.
import uPlot from "uplot";
import { Frames, button, make, options, select } from "./dom";
import { type CurvesState, decades } from "./curves_state";
import { CATEGORIES, DASHES, type Theme, readTheme, short, watchTheme } from "./theme";

const UP = ["⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"];
const LEVELS = 5; // of the labels of marks, so that neighbours do not cover each other

const colour = (run: number) => CATEGORIES[run % CATEGORIES.length];
const dashes = (run: number) => [...DASHES[run % DASHES.length]];

function power(value: number): string {
  const exponent = Math.round(Math.log10(value));
  if (Math.abs(value / 10 ** exponent - 1) > 1e-6) return short(value);
  return `10${exponent < 0 ? "⁻" : ""}${[...String(Math.abs(exponent))].map((digit) => UP[Number(digit)]).join("")}`;
}

export function amount(value: number): string {
  for (const [size, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    if (Math.abs(value) >= size * (letter === "k" ? 10 : 1)) return `${+(value / size).toPrecision(4)}${letter}`;
  }
  return short(value);
}

const withChosen = (names: string[], chosen: string) => (names.includes(chosen) ? names : [chosen, ...names]);

export class CurvesView {
  private plot: uPlot | null = null;
  private drawn = ""; // what the plot was made for
  private zoomed = false;
  private theme: Theme;
  private updates = 0;
  private readonly painter = new Frames(() => this.draw());
  private readonly endings: (() => void)[];

  private readonly root = make("div", { class: "ifog ifog-curves", role: "group", "aria-label": "convergence" });
  private readonly y: HTMLSelectElement;
  private readonly x: HTMLSelectElement;
  private readonly log: HTMLButtonElement;
  private readonly box = make("div", { class: "ifog-plot", role: "img" });
  private readonly empty = make("div", { class: "ifog-empty ifog-soft" }, "nothing recorded yet");
  private readonly legend = make("div", { class: "ifog-legend", role: "group", "aria-label": "runs: click to see one alone" });
  private readonly entries: { button: HTMLButtonElement; text: HTMLElement; value: HTMLElement; note: HTMLElement }[] = [];

  constructor(
    private readonly state: CurvesState,
    parent: HTMLElement,
    presentation: boolean,
  ) {
    this.y = select("what is drawn", [], (name) => this.choose(() => (state.y = name)));
    this.x = select("against", [], (name) => this.choose(() => (state.x = name)));
    this.log = button("log", "logarithmic axis", () => this.choose(() => (state.log = !state.log)));
    const all = button("Reset zoom", "see everything", () => this.choose(() => undefined));
    const larger = button("Aa", "larger type, for a lecture hall", () => this.present(!this.root.classList.contains("presentation")));
    const bar = make("div", { class: "ifog-bar" }, this.y, make("label", {}, "against", this.x), this.log);
    bar.append(make("span", { class: "spring" }), all, larger);
    this.box.append(this.empty);
    this.root.append(bar, this.box, this.legend);
    parent.append(this.root);
    this.root.classList.toggle("presentation", state.larger ?? presentation);
    this.theme = readTheme(this.root);
    const observer = new ResizeObserver(() => this.restyle());
    observer.observe(this.box);
    this.endings = [
      state.subscribe(() => this.painter.ask()),
      watchTheme(() => this.restyle()),
      () => observer.disconnect(),
      () => this.painter.close(),
      () => this.plot?.destroy(),
    ];
    this.painter.ask();
  }

  close(): void {
    for (const end of this.endings) end();
    this.root.remove();
  }

  // ---- controls ------------------------------------------------------------------------------------------------------

  private choose(change: () => void): void {
    change();
    this.zoomed = false;
    this.state.tell();
  }

  private present(on: boolean): void {
    this.root.classList.toggle("presentation", on);
    this.state.larger = on;
    this.restyle();
  }

  /** Another size or other colours: uPlot must be made anew. */
  private restyle(): void {
    this.theme = readTheme(this.root);
    this.drawn = "";
    this.painter.ask();
  }

  // ---- drawing -------------------------------------------------------------------------------------------------------

  private draw(): void {
    const { state } = this;
    const lines = state.runs.map((_, run) => state.line(run));
    const something = lines.some(([, ys]) => ys.some((value) => value !== null));
    this.empty.hidden = something;
    options(this.y, withChosen(state.metrics, state.y), state.y);
    options(this.x, withChosen(state.axes, state.x), state.x);
    this.log.setAttribute("aria-pressed", String(state.log));
    this.writeLegend();
    this.updates += 1;
    this.box.dataset.updates = String(this.updates);
    if (!this.box.clientWidth) return;
    const wanted = JSON.stringify([state.x, state.y, state.log, state.runs.length, something]);
    const data = something ? uPlot.join(lines.map((line) => line as uPlot.AlignedData)) : ([[]] as unknown as uPlot.AlignedData);
    if (wanted !== this.drawn) {
      this.drawn = wanted;
      this.zoomed = false;
      this.plot?.destroy();
      this.plot = something ? new uPlot(this.describe(), data, this.box) : null;
    } else {
      this.plot?.setData(data, !this.zoomed);
      if (this.zoomed) this.plot?.redraw();
    }
    state.runs.forEach((_, run) => {
      if (this.plot && this.plot.series[run + 1].show !== state.shown(run)) this.plot.setSeries(run + 1, { show: state.shown(run) });
    });
  }

  private describe(): uPlot.Options {
    const { state, theme } = this;
    const font = `${0.92 * theme.size}px ${theme.font}`;
    const axis = { stroke: theme.ink, font, labelFont: font, grid: { stroke: `${theme.faint}40`, width: 1 }, ticks: { stroke: `${theme.faint}80`, width: 1 } };
    return {
      width: this.box.clientWidth,
      height: this.box.clientHeight,
      legend: { show: false },
      cursor: { points: { size: 8 }, drag: { x: true, y: false } },
      scales: {
        x: { time: false },
        y: { distr: state.log ? 3 : 1, range: (_, low, high) => this.range(low, high) },
      },
      axes: [
        { ...axis, label: state.x, labelSize: 1.6 * theme.size, size: 2.6 * theme.size, space: 6 * theme.size, values: (_, ticks) => ticks.map(amount) },
        {
          ...axis,
          label: state.y,
          labelSize: 1.8 * theme.size,
          size: 4 * theme.size,
          ...(state.log ? { splits: (_: uPlot, __: number, low: number, high: number) => decades(low, high), filter: (_: uPlot, ticks: number[]) => ticks } : {}),
          values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : state.log ? power(tick) : short(tick))),
        },
      ],
      series: [
        {},
        ...state.runs.map((run, k) => ({ label: run.name, stroke: colour(k), width: theme.size > 16 ? 3.5 : 2, dash: dashes(k), points: { show: false } })),
      ],
      hooks: {
        draw: [(plot) => this.drawMarks(plot)],
        setCursor: [() => this.writeValues()],
        setSelect: [(plot) => (this.zoomed = plot.select.width > 0)],
        ready: [(plot) => plot.over.addEventListener("dblclick", () => (this.zoomed = false))],
      },
    };
  }

  private range(low: number | null, high: number | null): [number, number] {
    if (low === null || high === null) return this.state.log ? [0.1, 1] : [0, 1];
    const top = Math.max(low, Math.min(high, this.state.ceiling));
    if (!this.state.log) return uPlot.rangeNum(low, top, 0.05, true) as [number, number];
    return top > low ? [low / 1.15, top * 1.15] : [low / 2, top * 2];
  }

  private drawMarks(plot: uPlot): void {
    const { state, theme } = this;
    const context = plot.ctx;
    const { left, top, width, height } = plot.bbox;
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    context.font = `${0.92 * theme.size * devicePixelRatio}px ${theme.font}`;
    let level = 0;
    state.runs.forEach((_, run) => {
      if (!state.shown(run)) return;
      for (const { x, what } of state.marks(run)) {
        const at = Math.round(plot.valToPos(x, "x", true));
        context.strokeStyle = colour(run);
        context.lineWidth = 1.5 * devicePixelRatio;
        context.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
        context.beginPath();
        context.moveTo(at, top);
        context.lineTo(at, top + height);
        context.stroke();
        const side = at > left + 0.75 * width ? -1 : 1;
        context.textAlign = side < 0 ? "right" : "left";
        context.fillStyle = theme.ink;
        context.fillText(what, at + 6 * side * devicePixelRatio, top + (1.2 + 1.4 * (level++ % LEVELS)) * theme.size * devicePixelRatio);
      }
    });
    context.restore();
  }

  // ---- the legend ------------------------------------------------------------------------------------------------------

  private writeLegend(): void {
    const { state } = this;
    while (this.entries.length < state.runs.length) this.addEntry(this.entries.length);
    state.runs.forEach((run, k) => {
      const { button, text, note } = this.entries[k];
      text.textContent = run.name;
      note.textContent = run.note || (run.status === "done" ? "" : run.status);
      note.classList.toggle("failed", run.status === "failed");
      button.setAttribute("aria-pressed", String(state.alone === k));
      button.classList.toggle("hidden", !state.shown(k));
    });
    this.writeValues();
    const said = state.runs.map((run, k) => `${run.name} ${run.status} at ${short(state.last(k))}`);
    this.box.setAttribute("aria-label", `${state.y} against ${state.x}: ${said.join("; ") || "no runs"}`);
  }

  private addEntry(run: number): void {
    const sample = `<svg viewBox="0 0 30 8" aria-hidden="true"><path d="M0 4H30" stroke="${colour(run)}" stroke-width="3" stroke-dasharray="${dashes(run).join(" ")}"/></svg>`;
    const [text, value, note] = [make("span"), make("b"), make("span", { class: "ifog-soft" })];
    const made = button("", "show this run alone, or all", () => this.state.isolate(run));
    made.removeAttribute("aria-label"); // its text says which run it is
    made.innerHTML = sample;
    made.append(text, value, note);
    this.legend.append(made);
    this.entries.push({ button: made, text, value, note });
  }

  /** The values under the pointer, or the last ones. */
  private writeValues(): void {
    const at = this.plot?.cursor.idx;
    this.entries.forEach(({ value }, run) => {
      const ys = this.plot?.data[run + 1];
      let found: number | null | undefined = this.state.last(run);
      if (ys && at !== null && at !== undefined) {
        let k = at; // runs have their points at different places: the last one before the pointer
        while (k > 0 && (ys[k] === undefined || ys[k] === null)) k -= 1;
        found = ys[k];
      }
      value.textContent = found === null || found === undefined || Number.isNaN(found) ? "" : short(found);
    });
  }
}
