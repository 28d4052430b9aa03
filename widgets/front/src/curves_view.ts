// One view of curves: uPlot draws them, the controls and the legend are around it.
import uPlot from "uplot";
import { Frames, button, icon, make, options, select } from "./dom";
import { type CurvesState, type Entry, type Line, decades } from "./curves_state";
import { CATEGORIES, DASHES, type Theme, readTheme, short, watchTheme } from "./theme";

const UP = ["⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"];
const LEVELS = 5; // of the labels of marks, so that neighbours do not cover each other

/** A line on the plot: that of an entry, the least or the largest of what it is the mean of, or what theory says of it. */
interface Series {
  entry: number;
  kind: "line" | "low" | "high" | "theory";
  line: Line;
}

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

const LOG_TICKS = {
  splits: (_: uPlot, __: number, low: number, high: number) => decades(low, high),
  filter: (_: uPlot, ticks: number[]) => ticks,
};

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
  private readonly logX: HTMLButtonElement;
  private readonly band: HTMLButtonElement;
  private readonly box = make("div", { class: "ifog-plot", role: "img" });
  private readonly empty = make("div", { class: "ifog-empty ifog-soft" }, "nothing recorded yet");
  private readonly legend = make("div", { class: "ifog-legend", role: "group", "aria-label": "runs: click to see one alone" });
  private series: Series[] = [];
  private entries: Entry[] = [];
  private readonly legends: { button: HTMLButtonElement; sample: SVGPathElement; text: HTMLElement; value: HTMLElement; note: HTMLElement }[] = [];

  constructor(
    private readonly state: CurvesState,
    parent: HTMLElement,
    presentation: boolean,
    part = false, // of another view, which has the bar for all
  ) {
    this.y = select("what is drawn", [], (name) => this.choose(() => (state.y = name)));
    this.x = select("against", [], (name) => this.choose(() => (state.x = name)));
    this.log = button("log", "logarithmic axis", () => this.choose(() => (state.log = !state.log)));
    this.logX = button("log x", "logarithmic lower axis", () => this.choose(() => (state.logX = !state.logX)));
    this.band = button("band", "runs that differ in their seed only as a band", () => this.choose(() => (state.band = !state.band)));
    const all = button(part ? icon("fit") : "Reset zoom", "see everything", () => this.choose(() => undefined));
    const larger = button("Aa", "larger type, for a lecture hall", () => this.present(!this.root.classList.contains("presentation")));
    const bar = make("div", { class: "ifog-bar" }, this.y, make("label", {}, "against", this.x), this.log, this.logX, this.band);
    bar.append(make("span", { class: "spring" }), all);
    if (part) this.root.classList.add("ifog-part");
    else bar.append(larger);
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

  present(on: boolean): void {
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
    this.entries = state.entries();
    this.series = this.allSeries();
    const something = this.series.some(({ line: [, ys] }) => ys.some((value) => value !== null));
    this.empty.hidden = something;
    options(this.y, withChosen(state.metrics, state.y), state.y);
    options(this.x, withChosen(state.axes, state.x), state.x);
    this.log.setAttribute("aria-pressed", String(state.log));
    this.logX.setAttribute("aria-pressed", String(state.logX));
    this.band.setAttribute("aria-pressed", String(state.band));
    this.band.hidden = !state.grouped;
    this.writeLegend();
    this.updates += 1;
    this.box.dataset.updates = String(this.updates);
    if (!this.box.clientWidth) return;
    const kinds = this.series.map(({ entry, kind }) => [this.entries[entry].key, kind]);
    const wanted = JSON.stringify([state.x, state.y, state.log, state.logX, kinds, something]);
    const data = something ? uPlot.join(this.series.map(({ line }) => line as uPlot.AlignedData)) : ([[]] as unknown as uPlot.AlignedData);
    if (wanted !== this.drawn) {
      this.drawn = wanted;
      this.zoomed = false;
      this.plot?.destroy();
      this.plot = something ? new uPlot(this.describe(), data, this.box) : null;
    } else {
      this.plot?.setData(data, !this.zoomed);
      if (this.zoomed) this.plot?.redraw();
    }
    this.series.forEach(({ entry }, k) => {
      const show = state.shown(this.entries[entry]);
      if (this.plot && this.plot.series[k + 1].show !== show) this.plot.setSeries(k + 1, { show });
    });
  }

  private allSeries(): Series[] {
    const { state } = this;
    const found: Series[] = [];
    this.entries.forEach(({ runs }, entry) => {
      if (runs.length === 1) return found.push({ entry, kind: "line", line: state.line(runs[0]) });
      const [xs, mean, low, high] = state.bandOf(runs);
      return found.push({ entry, kind: "high", line: [xs, high] }, { entry, kind: "low", line: [xs, low] }, { entry, kind: "line", line: [xs, mean] });
    });
    let least = Infinity;
    for (const { line: [, ys] } of found) for (const value of ys) if (value !== null && value < least) least = value;
    this.entries.forEach(({ runs }, entry) => {
      const line = state.theory(runs[0], state.log ? least / 2 : -Infinity);
      if (line[0].length) found.push({ entry, kind: "theory", line });
    });
    return found;
  }

  /** Ghosts have no colours of their own, and take none from the others. */
  private number(entry: number): number {
    return entry - this.entries.filter(({ ghost }) => ghost).length;
  }

  private colour(entry: number): string {
    const number = this.number(entry);
    return number < 0 ? this.theme.faint : CATEGORIES[number % CATEGORIES.length];
  }

  private dashes(entry: number): number[] {
    const number = this.number(entry);
    return number < 0 ? [] : [...DASHES[number % DASHES.length]];
  }

  private style({ entry, kind }: Series): uPlot.Series {
    const broad = this.theme.size > 16 ? 3.5 : 2;
    const common = { label: this.entries[entry].name, points: { show: false } };
    if (kind === "theory") return { ...common, stroke: this.theme.faint, width: 1.2, dash: [2, 3] };
    if (kind !== "line") return { ...common, stroke: "transparent", width: 0 };
    if (this.entries[entry].ghost) return { ...common, stroke: `${this.theme.faint}90`, width: 0.6 * broad };
    return { ...common, stroke: this.colour(entry), width: broad, dash: this.dashes(entry) };
  }

  private describe(): uPlot.Options {
    const { state, theme } = this;
    const font = `${Math.round(0.92 * theme.size)}px ${theme.font}`; // whole: of 11.96 uPlot would take the 96 when the page is zoomed
    const axis = { stroke: theme.ink, font, labelFont: font, grid: { stroke: `${theme.faint}40`, width: 1 }, ticks: { stroke: `${theme.faint}80`, width: 1 } };
    return {
      width: this.box.clientWidth,
      height: this.box.clientHeight,
      legend: { show: false },
      cursor: { points: { size: 8 }, drag: { x: true, y: false } },
      scales: {
        x: { time: false, ...(state.logX ? { distr: 3 as const, range: (_, low, high) => [low ?? 1, high ?? 10] } : {}) },
        y: { distr: state.log ? 3 : 1, range: (_, low, high) => this.range(low, high) },
      },
      axes: [
        { ...axis, label: state.x, labelSize: 1.6 * theme.size, size: 2.6 * theme.size, space: 6 * theme.size, ...(state.logX ? LOG_TICKS : {}), values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : amount(tick))) },
        {
          ...axis,
          label: state.y,
          labelSize: 1.8 * theme.size,
          size: 4 * theme.size,
          ...(state.log ? LOG_TICKS : {}),
          values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : state.log ? power(tick) : short(tick))),
        },
      ],
      series: [{}, ...this.series.map((each) => this.style(each))],
      bands: this.series.flatMap(({ entry, kind }, k) => (kind === "high" ? [{ series: [k + 1, k + 2] as [number, number], fill: `${this.colour(entry)}33` }] : [])),
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
    this.entries.forEach((entry, k) => {
      if (!state.shown(entry) || entry.ghost) return;
      for (const { x, what } of state.marks(entry.runs[0])) {
        const at = Math.round(plot.valToPos(x, "x", true));
        context.strokeStyle = this.colour(k);
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
    const { state, entries } = this;
    while (this.legends.length < entries.length) this.addLegend(this.legends.length);
    for (const { button } of this.legends.splice(entries.length)) button.remove();
    entries.forEach((entry, k) => {
      const { button, sample, text, note } = this.legends[k];
      const runs = entry.runs.map((run) => state.runs[run]);
      const [failed, theory] = [runs.find(({ status }) => status === "failed"), this.series.find((each) => each.entry === k && each.kind === "theory")];
      const odd = failed ?? runs.find((run) => run.note !== "" || run.status !== "done") ?? runs[0];
      const rate = theory ? `thin: ρᵏ, ρ = ${short(runs[0].theory.at(-1)!.rate)}` : "";
      sample.setAttribute("stroke", this.colour(k));
      sample.setAttribute("stroke-width", entry.ghost ? "1.5" : "3");
      sample.setAttribute("stroke-dasharray", this.dashes(k).join(" "));
      text.textContent = entry.name;
      note.textContent = [entry.ghost ? "before" : "", odd.note || (odd.status === "done" ? "" : odd.status), rate].filter(Boolean).join(" · ");
      note.classList.toggle("failed", failed !== undefined);
      button.setAttribute("aria-pressed", String(state.alone === entry.key));
      button.classList.toggle("hidden", !state.shown(entry));
    });
    this.writeValues();
    const said = state.runs.map((run, k) => `${run.name} ${run.status} at ${short(state.last(k))}`);
    this.box.setAttribute("aria-label", `${state.y} against ${state.x}: ${said.join("; ") || "no runs"}`);
  }

  private addLegend(k: number): void {
    const [text, value, note] = [make("span"), make("b"), make("span", { class: "ifog-soft" })];
    const made = button("", "show this run alone, or all", () => this.state.isolate(this.entries[k].key));
    made.removeAttribute("aria-label"); // its text says which run it is
    made.innerHTML = `<svg viewBox="0 0 30 8" aria-hidden="true"><path d="M0 4H30"/></svg>`;
    made.append(text, value, note);
    this.legend.append(made);
    this.legends.push({ button: made, sample: made.querySelector("path")!, text, value, note });
  }

  /** The values under the pointer, or the last ones. */
  private writeValues(): void {
    const at = this.plot?.cursor.idx;
    this.legends.forEach(({ value }, entry) => {
      const column = this.series.findIndex((each) => each.entry === entry && each.kind === "line");
      const ys = this.plot?.data[column + 1];
      let found: number | null | undefined = this.state.last(this.entries[entry].runs[0]);
      if (this.entries[entry].runs.length > 1) found = this.series[column].line[1].at(-1);
      if (ys && at !== null && at !== undefined) {
        let k = at; // runs have their points at different places: the last one before the pointer
        while (k > 0 && (ys[k] === undefined || ys[k] === null)) k -= 1;
        found = ys[k];
      }
      value.textContent = found === null || found === undefined || Number.isNaN(found) ? "" : short(found);
    });
  }
}
