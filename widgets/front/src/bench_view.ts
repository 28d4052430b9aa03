// One view of the lab bench: controls above, the network and the curves below.
import { type BenchState, startSays } from "./bench_state";
import { CurvesView, amount } from "./curves_view";
import { button, fill, icon, make, select } from "./dom";
import { Dial, type Range } from "./dial";
import type { Bench, Dial as Turn, FromThePage } from "./messages";
import { NetworkView } from "./network_view";

const PACE: Range = { name: "pace", low: 1, high: 1000, log: true, whole: false, about: "iterations a second" };
const HINT = "Try this: start, and while the curve falls choose another topology, turn lr, or draw an edge.";
const SET_FOR_LATER: Record<string, string> = { n: "nodes", on: "place" };

export class BenchView {
  private readonly root = make("div", { class: "ifog ifog-bench", role: "group", "aria-label": "lab bench", "data-lm-suppress-shortcuts": "true" });
  private readonly start = button("", "start", () => this.do("start"));
  private readonly pause = button(icon("pause"), "pause", () => this.do("pause"));
  private readonly step = button(icon("step"), "one iteration", () => this.do("step"));
  private readonly stop = button(icon("stop"), "stop; the curve stays", () => this.do("stop"));
  private readonly reset = button(icon("reset"), "reset: stop, and take all curves away", () => this.do("reset"));
  private readonly pill = make("span", { class: "ifog-pill" });
  private readonly count = make("span", { class: "ifog-count" });
  private readonly pace = new Dial(PACE, (value) => this.choose("pace", value), { label: "pace", beyond: "as fast as it can" });
  private readonly pickers: Record<"problem" | "method" | "topology" | "on", HTMLSelectElement>;
  private readonly n = make("input", { type: "number", min: "1", max: "5000", step: "1", "aria-label": "number of nodes" });
  private readonly heterogeneity = new Dial(
    { name: "heterogeneity", low: 0, high: 4, log: false, whole: false, about: "how different the data of the nodes are" },
    (value) => this.choose("heterogeneity", value),
  );
  private readonly knobs = make("span", { class: "ifog-knobs", role: "group", "aria-label": "parameters" });
  private dials = new Map<string, Dial>();
  private readonly where: HTMLElement;
  private readonly about = make("div", { class: "ifog-soft ifog-about" });
  private readonly said = make("div", { class: "ifog-said", role: "status", "aria-live": "polite" });
  private readonly network: NetworkView;
  private readonly curves: CurvesView;
  private readonly endings: (() => void)[];

  constructor(
    private readonly state: BenchState,
    private readonly send: (message: FromThePage) => void,
    parent: HTMLElement,
    presentation: boolean,
  ) {
    const pick = (what: string, label: string) => select(label, [], (value) => this.choose(what, value));
    this.pickers = {
      problem: pick("problem", "problem"),
      method: pick("method", "method"),
      topology: pick("topology", "topology"),
      on: pick("on", "where it runs"),
    };
    this.n.addEventListener("change", () => this.choose("n", this.n.value));
    const large = state.larger ?? presentation;
    const larger = button("Aa", "larger type, for a lecture hall", () => this.present(!this.root.classList.contains("presentation")));
    const run = make("div", { class: "ifog-bar ifog-run" }, this.start, this.pause, this.step, this.stop, this.reset, this.pill, this.count);
    run.append(make("span", { class: "spring" }), this.pace.root, larger);
    const named = (text: string, control: HTMLElement) => make("label", {}, text, control);
    this.where = named("runs", this.pickers.on);
    const settings = make("div", { class: "ifog-bar ifog-settings" });
    settings.append(named("method", this.pickers.method), named("topology", this.pickers.topology), this.knobs);
    settings.append(named("problem", this.pickers.problem), named("nodes", this.n), this.heterogeneity.root, this.where);
    const [left, right] = [make("div", { class: "ifog-left" }), make("div", { class: "ifog-right" })];
    this.root.append(run, settings, this.about, this.said, make("div", { class: "ifog-halves" }, left, right));
    parent.append(this.root);
    this.root.classList.toggle("presentation", large);
    this.network = new NetworkView(state.network, (message) => send(Object.assign(message, { part: "network" })), left, large, true);
    this.curves = new CurvesView(state.curves, right, large, true);
    this.endings = [state.subscribe(() => this.write()), () => this.network.close(), () => this.curves.close()];
    this.write();
  }

  close(): void {
    for (const end of this.endings) end();
    this.root.remove();
  }

  private do(what: string): void {
    this.send({ type: "press", what });
  }

  private choose(what: string, value: string): void {
    this.send({ type: "choose", what, value });
  }

  private present(on: boolean): void {
    this.state.larger = on;
    this.root.classList.toggle("presentation", on);
    this.network.present(on);
    this.curves.present(on);
  }

  // ---- what is written -------------------------------------------------------------------------------------------------

  private write(): void {
    const { bench, choices, goes, live } = this.state;
    if (!bench) return;
    this.start.replaceChildren(icon("play"), ` ${startSays(bench)}`);
    this.start.setAttribute("aria-label", startSays(bench));
    this.start.classList.toggle("ifog-main", !goes || bench.later.length > 0);
    this.pause.disabled = !goes;
    this.stop.disabled = !live;
    this.reset.disabled = !bench.status;
    this.step.disabled = bench.status === "waiting";
    const { pickers } = this;
    fill(pickers.problem, choices.problems, bench.problem);
    fill(pickers.method, choices.methods, bench.method);
    fill(pickers.topology, this.state.topologies, bench.topology);
    fill(pickers.on, choices.places, bench.place);
    this.where.hidden = choices.places.length < 2;
    if (document.activeElement !== this.n) this.n.value = String(bench.n);
    this.n.disabled = bench.fixed;
    this.heterogeneity.root.hidden = bench.heterogeneity < 0;
    this.heterogeneity.show(Math.max(0, bench.heterogeneity));
    this.pace.show(bench.pace || Infinity);
    this.writeDials(bench.dials);
    this.about.textContent = bench.about;
    this.pill.textContent = bench.status || "not started";
    this.pill.dataset.status = bench.status;
    const fast = bench.speed >= 0.05 ? ` · ${bench.speed < 10 ? bench.speed.toFixed(1) : amount(Math.round(bench.speed))}/s` : "";
    this.count.textContent = bench.status ? `iteration ${bench.iteration.toLocaleString("en")}${fast}` : "";
    this.writeSaid(bench);
  }

  private writeDials(dials: Turn[]): void {
    const wanted = dials.map(({ name, low, high }) => `${name} ${low} ${high}`).join();
    if (this.knobs.dataset.made !== wanted) {
      this.dials = new Map(dials.map((dial) => [dial.name, new Dial(dial, (value) => this.choose(dial.name, value))]));
      this.knobs.replaceChildren(...[...this.dials.values()].map((dial) => dial.root));
      this.knobs.dataset.made = wanted;
    }
    for (const { name, value } of dials) this.dials.get(name)?.show(value);
  }

  /** What was asked for, and what came of it. */
  private writeSaid({ status, pending, later, said, trouble }: Bench): void {
    const chips = pending.map((what) => make("span", { class: "ifog-chip", "data-kind": "pending" }, `${what}: pending …`));
    if (later.length) {
      const names = later.map((name) => SET_FOR_LATER[name] ?? name).join(", ");
      chips.push(make("span", { class: "ifog-chip", "data-kind": "later" }, `${names}: with the next start`));
    }
    if (said) chips.push(make("span", { class: "ifog-chip", "data-kind": trouble ? "trouble" : "done" }, said));
    if (!status && !chips.length) chips.push(make("span", { class: "ifog-soft ifog-hint" }, HINT));
    const now = chips.map((chip) => chip.textContent).join();
    if (this.said.dataset.now === now) return; // else it would be read aloud again and again
    this.said.dataset.now = now;
    this.said.replaceChildren(...chips);
  }
}
