// One view of a network: the controls around it, and when what is painted anew.
import { paintDisc } from "./disc";
import { Frames, Sheet, button, icon, make, options, select } from "./dom";
import { Camera } from "./geometry";
import { HeatMap } from "./heatmap";
import type { Arrange, Colour, FromThePage } from "./messages";
import { Hands } from "./network_mouse";
import { paintArrows, paintGround, paintMachines, paintMessages, paintNodes, paintRound } from "./network_paint";
import type { Change, NetworkState, Tool } from "./network_state";
import { CATEGORIES, type Theme, UNKNOWN_RGB, VIRIDIS, VIRIDIS_RGB, calm, readTheme, shade, short, watchTheme } from "./theme";

const GLIDE = 450; // milliseconds from one layout to the next
const MANY = 12_000; // lines; so many are painted again only when the hand rests
const RESTS = 150; // milliseconds
const ARROWS = 200; // nodes; more have no room for heads
const FADING = 5000; // nodes; of more, colours change at once
const SLOW = 100; // milliseconds from one round to the next in which messages are seen to travel
const TOOLS: [Tool, string, string][] = [
  ["move", "Move", "drag nodes; drag the background to pan"],
  ["add", "Add", "click for a node; drag from node to node for an edge"],
  ["remove", "Remove", "click a node or an edge"],
];

export class NetworkView {
  private theme: Theme;
  private readonly camera = new Camera();
  private readonly ground = document.createElement("canvas");
  private groundIsOld = true;
  private groundSeen = { x: 0, y: 0, side: 1 }; // by the camera, when it was painted
  private resting: ReturnType<typeof setTimeout> | undefined;
  private readonly map = new HeatMap();
  private mapIsOld = true;
  private besideIsOld = true; // W or the disc, or what is marked there
  private glideBegan = 0;
  private shown: Float32Array = new Float32Array();
  private before = 0;
  private phase = 0;
  private frames = 0;
  private readonly painter = new Frames((now) => this.paint(now));
  private readonly endings: (() => void)[];
  private readonly forGraphs: HTMLElement[];

  private readonly root = make("div", { class: "ifog ifog-network", role: "group" });
  private readonly play = button(icon("play"), "play the rounds", () => this.togglePlay());
  private readonly step = button(icon("step"), "next round", () => this.next());
  private readonly count = make("span", { class: "ifog-soft ifog-round" });
  private readonly speed = make("input", { type: "range", min: "-1", max: "5", step: "0.5", value: "1", "aria-label": "speed" });
  private readonly layout = select("layout", [], (layout) => this.send({ type: "arrange", layout } satisfies Arrange));
  private readonly tools = TOOLS.map(([tool, text, label]) => button(text, label, () => this.take(tool)));
  private readonly box = make("div", { class: "ifog-sheet" });
  private readonly side = make("div", { class: "ifog-side" });
  private readonly mapBox = make("div", { class: "ifog-map" });
  private readonly scale = make("div", { class: "ifog-scale" });
  private readonly discBox = make("div", { class: "ifog-disc" });
  private readonly discLabel = make("span", { class: "ifog-soft" });
  private readonly disc = make("div", { class: "ifog-eigen" }, this.discBox, this.discLabel);
  private readonly colour = select("colour", [], (what) => this.send({ type: "colour", what } satisfies Colour));
  private readonly colours = make("label", {}, "colour", this.colour);
  private readonly title = make("span", { class: "ifog-title" });
  private readonly facts = make("span", { class: "ifog-facts ifog-soft" });
  private readonly note = make("div", { class: "ifog-soft ifog-note" });
  private readonly tip = make("div", { class: "ifog-tip", hidden: true });
  private readonly status = make("div", { class: "ifog-unseen", "aria-live": "polite" });
  private readonly sheet: Sheet;
  private readonly mapSheet: Sheet;
  private readonly discSheet: Sheet;
  private readonly hands: Hands;

  constructor(
    private readonly state: NetworkState,
    private readonly send: (message: FromThePage) => void,
    parent: HTMLElement,
    presentation: boolean,
    part = false, // of another view, which says what round it is, and has the bar for all
  ) {
    const larger = button("Aa", "larger type, for a lecture hall", () => this.present(!this.root.classList.contains("presentation")));
    this.speed.addEventListener("input", () => (state.speed = 2 ** Number(this.speed.value)));
    const tools = make("span", { class: "ifog-group", role: "group", "aria-label": "mouse" }, ...this.tools);
    const [speed, layout] = [make("label", {}, "speed", this.speed), make("label", {}, "layout", this.layout)];
    const fit = button(icon("fit"), "see everything", () => this.fit());
    this.forGraphs = [this.play, this.step, speed, layout, tools, fit]; // blocks have no use for them
    const bar = make("div", { class: "ifog-bar" });
    if (part) bar.append(this.colours, this.layout, make("span", { class: "spring" }), tools, fit);
    else bar.append(this.play, this.step, this.count, speed, make("span", { class: "spring" }), this.colours, layout, tools, fit, larger);
    this.root.classList.toggle("ifog-part", part);
    this.side.append(make("div", { class: "ifog-soft" }, "rows of W receive"), this.mapBox, this.scale, this.disc);
    this.root.append(bar, make("div", { class: "ifog-pictures" }, this.box, this.side), make("div", {}, this.title, " ", this.facts), this.note, this.tip, this.status);
    parent.append(this.root);
    this.root.classList.toggle("presentation", state.kept?.presentation ?? presentation);
    if (state.kept) this.camera.look(state.kept);
    this.speed.value = String(Math.log2(state.speed));
    this.theme = readTheme(this.root);

    const help = "network; arrow keys choose a node, Enter on two nodes joins or parts them, Delete removes, n adds a node";
    this.sheet = new Sheet(this.box, () => this.restyle(), { tabindex: "0", role: "application", "aria-label": help });
    this.mapSheet = new Sheet(this.mapBox, () => this.restyle(), { role: "img", "aria-label": "the weights W as a picture" });
    this.discSheet = new Sheet(this.discBox, () => this.restyle(), { role: "img", "aria-label": "the eigenvalues on the unit disc" });
    this.hands = new Hands(this.sheet.canvas, state, this.camera, send, (text) => (this.status.textContent = text));
    this.mapSheet.canvas.addEventListener("pointermove", (event) => this.overMap(event));
    this.mapSheet.canvas.addEventListener("pointerleave", () => state.look(null));
    this.endings = [
      state.subscribe((change) => this.changed(change)),
      watchTheme(() => this.restyle()),
      () => this.sheet.close(),
      () => this.mapSheet.close(),
      () => this.discSheet.close(),
      () => this.painter.close(),
      () => clearTimeout(this.resting),
    ];
    this.changed("all");
  }

  close(): void {
    const { zoom, x, y } = this.camera;
    this.state.kept = { zoom, x, y, presentation: this.root.classList.contains("presentation") };
    for (const end of this.endings) end();
    this.root.remove();
  }

  // ---- controls ------------------------------------------------------------------------------------------------------

  private togglePlay(): void {
    this.state.playing = !this.state.playing;
    this.before = 0;
    this.state.tell("round");
  }

  private next(): void {
    [this.state.playing, this.phase] = [false, 0];
    this.state.goTo(this.state.round + 1);
  }

  private take(tool: Tool): void {
    this.state.tool = tool;
    this.state.tell("spot");
  }

  private fit(): void {
    this.camera.reset();
    this.changed("all");
  }

  present(on: boolean): void {
    this.root.classList.toggle("presentation", on);
    this.restyle();
  }

  private restyle(): void {
    this.theme = readTheme(this.root);
    this.changed("all");
  }

  private overMap(event: PointerEvent): void {
    const { graph } = this.state;
    if (!graph) return;
    const [i, j] = this.map.entryAt(event.offsetX, event.offsetY, this.mapSheet.width);
    if (i === j) this.state.look({ kind: "node", node: i });
    else this.state.look(this.state.weightsBetween(i, j).some((weight) => !Number.isNaN(weight)) ? { kind: "line", a: i, b: j } : null);
  }

  // ---- what is written -------------------------------------------------------------------------------------------------

  private changed(change: Change): void {
    if (change === "all" || change === "places") this.groundIsOld = true;
    if (change === "moving") this.movesOn();
    if (change === "all" || change === "round") this.mapIsOld = true;
    if (change === "all" || change === "round" || change === "spot") this.besideIsOld = true;
    if (change === "all" || change === "places") this.glideBegan = this.state.from ? performance.now() : 0;
    if (change !== "values") this.write();
    else this.writeScale();
    this.painter.ask();
  }

  private movesOn(): void {
    const many = (this.state.graph?.lines.length ?? 0) > 2 * MANY;
    clearTimeout(this.resting);
    if (!many) this.groundIsOld = true;
    else this.resting = setTimeout(() => this.changed("places"), RESTS);
  }

  private write(): void {
    const { graph, blocks, playing, tool } = this.state;
    const known = graph ?? blocks;
    if (!known) return;
    this.title.textContent = known.title;
    this.facts.textContent = known.facts.join(" · ");
    this.note.textContent = known.note;
    this.play.replaceChildren(icon(playing ? "pause" : "play"));
    this.play.setAttribute("aria-pressed", String(playing));
    this.writeRound();
    this.tools.forEach((each, k) => {
      each.setAttribute("aria-pressed", String(TOOLS[k][0] === tool));
      each.disabled = k > 0 && !graph?.editable;
    });
    for (const control of this.forGraphs) control.hidden = !graph;
    if (graph) options(this.layout, graph.layouts, graph.layout);
    this.disc.hidden = !graph?.spectrum;
    this.discLabel.textContent = graph?.spectrum ?? "";
    this.root.setAttribute("aria-label", `${known.title}: ${known.facts.join(", ")}`);
    this.sheet.canvas.style.cursor = { move: "grab", add: "crosshair", remove: "not-allowed" }[tool];
    this.writeTip();
    this.writeScale();
  }

  private writeRound(): void {
    const { graph, values, round, rounds, varying } = this.state;
    const cycle = varying ? ` (${(round % rounds) + 1} of ${rounds})` : "";
    const count = values && values.round === round && values.count >= 0 ? values.count : round;
    this.count.textContent = graph ? `round ${count}${cycle}` : "";
  }

  private writeScale(): void {
    const values = this.state.values;
    this.writeRound();
    this.scale.hidden = !values;
    this.colours.hidden = !values?.choices.length;
    if (!values) return;
    if (values.choices.length) options(this.colour, values.choices, values.what);
    this.scale.textContent = "";
    this.scale.classList.toggle("states", values.names.length > 0);
    if (values.names.length) {
      for (const [k, name] of values.names.entries()) {
        const spot = make("span", { class: "ifog-spot" });
        spot.style.background = CATEGORIES[k % CATEGORIES.length];
        this.scale.append(make("span", {}, spot, name));
      }
      return;
    }
    const ramp = make("span", { class: "ifog-ramp", role: "img", "aria-label": "colours of the values" });
    ramp.style.background = `linear-gradient(to right, ${VIRIDIS.filter((_, k) => k % 8 === 0).join(", ")}, ${VIRIDIS.at(-1)})`;
    this.scale.append(this.valued(values.low), ramp, this.valued(values.high));
  }

  /** A value as it is said: the name of a state, or a number. */
  private valued(value: number): string {
    const values = this.state.values!;
    if (values.names.length) return values.names[value] ?? "unknown";
    return short(values.log ? 10 ** value : value);
  }

  private writeTip(): void {
    const { spot, graph, values } = this.state;
    this.tip.hidden = !spot || !graph;
    if (!spot || !graph) return;
    const weight = (w: number) => (graph.weighted ? short(w) : "no weight");
    let text: string;
    let at: [number, number];
    if (spot.kind === "node") {
      const { own } = this.state.current();
      const value = values ? `\n${values.names.length ? "" : `${values.what || "value"} `}${this.valued(values.values[spot.node])}` : "";
      const where = graph.machines.length ? ` on ${graph.machines[graph.machine[spot.node]]}` : "";
      const sums = `row sums to ${short(this.map.rows[spot.node])}, column to ${short(this.map.columns[spot.node])}`;
      text = `node ${spot.node}${where}${value}${graph.weighted ? `\nown weight ${short(own[spot.node])}\n${sums}` : ""}`;
      at = [this.state.positions[2 * spot.node], this.state.positions[2 * spot.node + 1]];
    } else {
      const { a, b } = spot;
      const [there, back] = this.state.weightsBetween(a, b);
      const lines = [[a, b, there] as const, [b, a, back] as const].filter(([, , w]) => !Number.isNaN(w));
      text = lines.map(([from, to, w]) => `${from} → ${to}:  W[${to}, ${from}] = ${weight(w)}`).join("\n");
      const p = this.state.positions;
      at = [(p[2 * a] + p[2 * b]) / 2, (p[2 * a + 1] + p[2 * b + 1]) / 2];
    }
    this.tip.textContent = text;
    this.status.textContent = text;
    const x = this.box.offsetLeft + this.camera.toX(at[0]) + 14;
    const y = this.box.offsetTop + this.camera.toY(at[1]) + 14;
    this.tip.style.left = `${Math.max(4, Math.min(x, this.box.offsetLeft + this.box.clientWidth - 120))}px`;
    this.tip.style.top = `${y}px`;
  }

  // ---- what is painted -------------------------------------------------------------------------------------------------

  private paint(now: number): void {
    const { state, sheet } = this;
    if (!sheet.width) return;
    this.advance(now);
    sheet.context.setTransform(sheet.ratio, 0, 0, sheet.ratio, 0, 0);
    sheet.context.clearRect(0, 0, sheet.width, sheet.height);
    if (state.graph) this.paintNetwork(now);
    else if (state.blocks) this.paintSquares();
    this.paintMap();
    this.frames += 1;
    sheet.canvas.dataset.frames = String(this.frames);
  }

  private advance(now: number): void {
    const { state } = this;
    const passed = this.before ? Math.min(0.2, (now - this.before) / 1000) : 0;
    this.before = state.playing ? now : 0;
    if (!state.playing) return;
    this.phase += passed * state.speed;
    if (this.phase >= 1) {
      state.goTo(state.round + Math.floor(this.phase));
      this.phase %= 1;
    }
    this.painter.ask();
  }

  /** Where the nodes are now, on their way from one layout to the next. */
  private glide(now: number): Float32Array {
    const { state } = this;
    const share = (now - this.glideBegan) / GLIDE;
    if (!state.from || share >= 1 || state.from.length !== state.positions.length || calm()) {
      if (state.from) this.groundIsOld = true;
      state.from = null;
      return state.positions;
    }
    const eased = Math.max(0, share) ** 2 * (3 - 2 * Math.max(0, share));
    if (this.shown.length !== state.positions.length) this.shown = new Float32Array(state.positions.length);
    const from = state.from;
    this.shown.forEach((_, k) => (this.shown[k] = from[k] + eased * (state.positions[k] - from[k])));
    this.groundIsOld = true;
    this.painter.ask();
    return this.shown;
  }

  private paintNetwork(now: number): void {
    const { state, sheet, camera, theme, hands } = this;
    const { context } = sheet;
    [camera.width, camera.height] = [sheet.width, sheet.height];
    const positions = this.glide(now);
    const faded = calm() || state.graph!.n > FADING ? { values: state.values?.values ?? new Float32Array(), share: 1 } : state.faded(now);
    if (faded.share < 1) this.painter.ask();
    if (state.graph!.machines.length && state.graph!.layout === "by machine") paintMachines(context, state, positions, camera, theme);
    if (this.groundIsOld) this.paintGround(positions);
    this.placeGround();
    const round = state.current();
    const n = state.graph!.n;
    if (state.varying) paintRound(context, round, positions, camera, theme.lit, n > 2000 ? 0.8 : 1, n > 2000 ? 1.2 : 3);
    if (n <= ARROWS) paintArrows(context, round, positions, camera, camera.radius(n), state.varying ? theme.lit : theme.faint);
    context.setLineDash([5, 4]);
    for (const [a, b] of state.waiting) this.stroke(positions, a, b, theme.accent, 2);
    if (hands.pulled) {
      context.beginPath();
      context.moveTo(camera.toX(positions[2 * hands.pulled.from]), camera.toY(positions[2 * hands.pulled.from + 1]));
      context.lineTo(hands.pulled.x, hands.pulled.y);
      [context.strokeStyle, context.lineWidth] = [theme.accent, 2];
      context.stroke();
    }
    context.setLineDash([]);
    if (state.spot?.kind === "line") this.stroke(positions, state.spot.a, state.spot.b, theme.accent, 4);
    if (state.playing && !calm()) paintMessages(context, round, positions, camera, this.phase, theme.accent);
    else if (faded.share < 1 && state.pace > SLOW) paintMessages(context, round, positions, camera, faded.share, theme.accent);
    paintNodes(context, state, positions, faded.values, camera, theme);
    for (const node of [state.spot?.kind === "node" ? state.spot.node : -1, hands.anchor]) {
      if (node < 0) continue;
      context.beginPath();
      context.arc(camera.toX(positions[2 * node]), camera.toY(positions[2 * node + 1]), camera.radius(n) + 3, 0, 2 * Math.PI);
      [context.strokeStyle, context.lineWidth] = [theme.accent, 2.5];
      context.stroke();
    }
  }

  private paintGround(positions: Float32Array): void {
    const { sheet, ground } = this;
    [ground.width, ground.height] = [sheet.canvas.width, sheet.canvas.height];
    const context = ground.getContext("2d")!;
    context.setTransform(sheet.ratio, 0, 0, sheet.ratio, 0, 0);
    paintGround(context, this.state, positions, this.camera, this.theme);
    this.groundSeen = { x: this.camera.x, y: this.camera.y, side: this.camera.side };
    this.groundIsOld = false;
  }

  /** The lines as they were painted, where the camera sees them now. */
  private placeGround(): void {
    const { sheet, camera, groundSeen: seen } = this;
    const grown = camera.side / seen.side;
    const left = camera.x + sheet.width / 2 - (seen.x + sheet.width / 2) * grown;
    const top = camera.y + sheet.height / 2 - (seen.y + sheet.height / 2) * grown;
    sheet.context.drawImage(this.ground, left, top, sheet.width * grown, sheet.height * grown);
  }

  private stroke(positions: Float32Array, a: number, b: number, colour: string, width: number): void {
    const { context } = this.sheet;
    context.beginPath();
    context.moveTo(this.camera.toX(positions[2 * a]), this.camera.toY(positions[2 * a + 1]));
    context.lineTo(this.camera.toX(positions[2 * b]), this.camera.toY(positions[2 * b + 1]));
    [context.strokeStyle, context.lineWidth] = [colour, width];
    context.stroke();
  }

  /** Many nodes: a square for each, or for some of them, row by row. */
  private paintSquares(): void {
    const { state, sheet } = this;
    const { columns } = state.blocks!;
    const side = Math.min(sheet.width, sheet.height) - 16;
    const left = (sheet.width - side) / 2;
    const values = state.values;
    if (values) {
      const pixels = new ImageData(columns, columns);
      values.values.forEach((value, k) => {
        const which = shade(value, values.low, values.high);
        pixels.data.set([...(which < 0 ? UNKNOWN_RGB : VIRIDIS_RGB[which]), 255], 4 * k);
      });
      const [ground, context] = [this.ground, this.ground.getContext("2d")!];
      [ground.width, ground.height] = [columns, columns];
      context.putImageData(pixels, 0, 0);
      sheet.context.imageSmoothingEnabled = columns > side;
      sheet.context.drawImage(ground, left, 8, side, side);
    } else {
      sheet.context.fillStyle = this.theme.faint;
      sheet.context.font = `${this.theme.size}px ${this.theme.font}`;
      sheet.context.textAlign = "center";
      sheet.context.fillText("no values yet: show(values)", sheet.width / 2, sheet.height / 2);
    }
    sheet.context.strokeStyle = this.theme.faint;
    sheet.context.lineWidth = 1;
    sheet.context.strokeRect(left - 0.5, 7.5, side + 1, side + 1);
  }

  private paintDisc(): void {
    const { context, width, ratio } = this.discSheet;
    if (!width) return; // hidden
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    paintDisc(context, width, this.state.graph?.eigenvalues ?? new Float32Array(), this.theme);
  }

  private paintMap(): void {
    const { state, mapSheet, theme } = this;
    if (!mapSheet.width || !this.besideIsOld) return;
    this.besideIsOld = false;
    if (this.mapIsOld) {
      const { graph, blocks } = state;
      if (graph) this.map.ofRound(graph.n, state.current(), theme.weights);
      else if (blocks) this.map.ofBlocks(blocks.n, blocks.cells, blocks.shades, theme.weights);
      this.mapIsOld = false;
    }
    this.paintDisc();
    const { context, width } = mapSheet;
    context.setTransform(mapSheet.ratio, 0, 0, mapSheet.ratio, 0, 0);
    context.clearRect(0, 0, width, width);
    this.map.paint(context, width, theme.faint);
    const spot = state.spot;
    if (spot?.kind === "node") this.map.mark(context, width, [[spot.node, spot.node]], theme.accent);
    else if (spot) this.map.mark(context, width, [[spot.b, spot.a], [spot.a, spot.b]], theme.accent);
  }
}
