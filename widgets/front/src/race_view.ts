// One view of a race: a lane for each run, a clock of effort, and the curves below.
import { CurvesView, amount } from "./curves_view";
import { Dial } from "./dial";
import { Frames, button, fill, icon, make, select } from "./dom";
import type { FromThePage } from "./messages";
import type { RaceState, Standing } from "./race_state";
import { CATEGORIES, calm, short } from "./theme";

const LASTS = 8000; // milliseconds of a race that is played
const CLOCK = 1000; // steps of the slider
const UNITS: Record<string, string> = { iteration: "iterations", bytes: "bytes", messages: "messages", seconds: "s", simulated: "simulated s" };

interface Lane {
  root: HTMLElement;
  place: HTMLElement;
  name: HTMLElement;
  bar: HTMLElement;
  said: HTMLElement;
}

export class RaceView {
  private readonly root = make("div", { class: "ifog ifog-race", role: "group", "aria-label": "race", "data-lm-suppress-shortcuts": "true" });
  private readonly play = button(icon("play"), "play the race", () => this.toggle());
  private readonly stop = button(icon("stop"), "stop all runs", () => this.send({ type: "press", what: "stop" }));
  private readonly by = select("what is counted", [], (value) => this.choose("by", value));
  private readonly clock = make("input", { type: "range", min: "0", max: String(CLOCK), step: "1", "aria-label": "how much of it is shown" });
  private readonly now = make("output", { class: "ifog-value" });
  private readonly target = new Dial(
    { name: "target", low: 1e-9, high: 10, log: true, whole: false, about: "who reaches this has arrived" },
    (value) => this.choose("target", value),
  );
  private readonly lanes = make("div", { class: "ifog-lanes", role: "list" });
  private readonly status = make("div", { class: "ifog-unseen", "aria-live": "polite" });
  private readonly made: Lane[] = [];
  private readonly curves: CurvesView;
  private readonly painter = new Frames((now) => this.paint(now));
  private readonly endings: (() => void)[];
  private before = 0;

  constructor(
    private readonly state: RaceState,
    private readonly send: (message: FromThePage) => void,
    parent: HTMLElement,
    presentation: boolean,
  ) {
    const large = state.larger ?? presentation;
    const larger = button("Aa", "larger type, for a lecture hall", () => this.present(!this.root.classList.contains("presentation")));
    this.clock.addEventListener("input", () => this.goTo(Number(this.clock.value) / CLOCK));
    const bar = make("div", { class: "ifog-bar" }, this.play, this.clock, this.now, make("span", { class: "spring" }));
    bar.append(make("label", {}, "first by", this.by), this.target.root, this.stop, larger);
    const below = make("div", {});
    this.root.append(bar, this.lanes, below, this.status);
    parent.append(this.root);
    this.root.classList.toggle("presentation", large);
    this.curves = new CurvesView(state.curves, below, large, true);
    this.endings = [state.subscribe(() => this.painter.ask()), () => this.painter.close(), () => this.curves.close()];
    this.painter.ask();
  }

  close(): void {
    for (const end of this.endings) end();
    this.root.remove();
  }

  /** Here at once, because there may be nobody who answers. */
  private choose(what: "by" | "target", value: string): void {
    const { race } = this.state;
    this.state.take(what === "by" ? { ...race, by: value } : { ...race, target: Number(value) });
    this.send({ type: "choose", what, value });
  }

  private present(on: boolean): void {
    this.state.larger = on;
    this.root.classList.toggle("presentation", on);
    this.curves.present(on);
  }

  private toggle(): void {
    const { state } = this;
    state.playing = !state.playing;
    if (state.playing && state.share >= 1) state.share = 0;
    this.before = 0;
    if (calm()) [state.playing, state.share] = [false, 1];
    state.tell();
  }

  private goTo(share: number): void {
    [this.state.playing, this.state.share] = [false, share];
    this.state.tell();
  }

  private paint(now: number): void {
    const { state } = this;
    if (state.playing) {
      state.share = Math.min(1, state.share + (this.before ? (now - this.before) / LASTS : 0));
      this.before = now;
      if (state.share >= 1) state.playing = false;
      this.painter.ask();
    }
    const { race, curves } = state;
    this.play.replaceChildren(icon(state.playing ? "pause" : "play"));
    fill(this.by, race.measures, race.by);
    this.target.show(race.target);
    this.clock.value = String(Math.round(CLOCK * state.share));
    this.now.textContent = `${this.effort(state.now)}`;
    this.stop.disabled = curves.runs.every(({ status }) => ["done", "stopped", "failed"].includes(status));
    while (this.made.length < curves.runs.length) this.addLane(this.made.length);
    for (const lane of this.made.splice(curves.runs.length)) lane.root.remove();
    const standings = state.standings();
    standings.forEach((standing) => this.writeLane(standing));
    const said = [...standings].sort((a, b) => a.rank - b.rank).map((each) => `${each.rank}. ${curves.runs[each.run].name} ${this.said(each)}`);
    this.lanes.setAttribute("aria-label", said.join("; "));
    if (!state.playing && this.status.textContent !== said[0]) this.status.textContent = said[0] ?? "";
  }

  private effort(cost: number): string {
    const { by } = this.state.race;
    return `${by === "seconds" || by === "simulated" ? short(Number(cost.toPrecision(3))) : amount(Math.round(cost))} ${UNITS[by] ?? by}`;
  }

  private said({ run, value, cost }: Standing): string {
    const { status, note } = this.state.curves.runs[run];
    if (Number.isFinite(cost)) return this.effort(cost);
    if (status === "failed" || note) return note || status;
    return Number.isFinite(value) ? `${this.state.race.value} ${short(value)}` : "";
  }

  private addLane(run: number): void {
    const colour = CATEGORIES[run % CATEGORIES.length];
    const lane: Lane = {
      root: make("div", { class: "ifog-lane", role: "listitem" }),
      place: make("b", { class: "ifog-place" }),
      name: make("span", { class: "ifog-runner" }),
      bar: make("div", { class: "ifog-way", style: `background:${colour}` }),
      said: make("span", { class: "ifog-came" }),
    };
    lane.root.append(lane.place, lane.name, make("div", { class: "ifog-track" }, lane.bar), lane.said);
    this.lanes.append(lane.root);
    this.made.push(lane);
  }

  private writeLane(standing: Standing): void {
    const { run, rank, share, cost } = standing;
    const { root, place, name, bar, said } = this.made[run];
    place.textContent = `${rank}.`;
    name.textContent = this.state.curves.runs[run].name;
    bar.style.width = `${(100 * share).toFixed(2)}%`;
    said.textContent = this.said(standing);
    root.classList.toggle("leads", rank === 1);
    root.classList.toggle("there", Number.isFinite(cost));
    root.style.order = String(rank);
  }
}
