// One view of who has which samples: the controls, a bar for each node, and the classes below.
import { type DataState, LAST, alphaAt, alphaText, group, percent, positionOf, ticks } from "./data_state";
import { Frames, Sheet, button, icon, make, options, select } from "./dom";
import type { FromThePage } from "./messages";
import { CLASSES, type Theme, calm, readTheme, viridis, watchTheme } from "./theme";

const MOVE = 260; // milliseconds from one picture to the next
const NAMED = 20; // classes that have a button of their own; more are in a list
const PLACES = { left: 46, right: 4, top: 8, bottom: 34 }; // around the bars, at the usual size of letters

/** Where the bars are: from node to place and back. The first place is that of the mean, half a place before the others. */
interface Layout {
  left: number;
  bottom: number;
  height: number;
  step: number;
}

export class DataView {
  private readonly endings: (() => void)[];
  private readonly root = make("div", { class: "ifog ifog-data", role: "group" });
  private readonly title = make("span", { class: "ifog-title" });
  private readonly facts = make("span", { class: "ifog-soft" });
  private readonly measure = make("span", { class: "ifog-measure", role: "meter", "aria-label": "heterogeneity", "aria-valuemin": "0", "aria-valuemax": "1" }, make("i"));
  private readonly degree = make("output", {});
  private readonly rule = select("how samples are dealt", [], (rule) => this.state.want({ rule }));
  private readonly slider = make("input", { type: "range", min: "0", max: String(LAST), step: "1", "aria-label": "α of the Dirichlet shares" });
  private readonly alpha = make("output", {});
  private readonly shards = number("shards", "pieces that each node is given", 1, (shards) => this.state.want({ shards }));
  private readonly nodes = number("nodes", "nodes", 1, (n) => this.state.want({ n }));
  private readonly equal = make("input", { type: "checkbox" });
  private readonly again = button(icon("again"), "deal again, with the next seed", () => this.state.want({ seed: this.state.wanted.seed + 1 }));
  private readonly seed = make("output", {});
  private readonly parts: Record<"rule" | "alpha" | "shards" | "nodes" | "equal" | "seed", HTMLElement>;
  private readonly note = make("div", { class: "ifog-note", role: "alert" });
  private readonly box = make("div", { class: "ifog-sheet" });
  private readonly tip = make("div", { class: "ifog-tip", hidden: true });
  private readonly legend = make("div", { class: "ifog-classes", role: "group", "aria-label": "classes" });
  private readonly list = select("class", [], (name) => this.pin(this.state.seen.classes.indexOf(name)));
  private readonly live = make("div", { class: "ifog-unseen", "aria-live": "polite" });
  private readonly sheet: Sheet;
  private readonly frames = new Frames((now) => this.draw(now));
  private theme: Theme;
  private colours: string[] = [];
  private legendOf = "";
  private at: { node: number; cls: number } | null = null; // what the pointer or the keyboard is on
  private from: Float64Array | null = null; // heights before the last change, as counts
  private drawn = new Float64Array(0);
  private begun = 0;
  private counts: Uint32Array | null = null;

  constructor(
    private readonly state: DataState,
    private readonly send: (message: FromThePage) => void,
    parent: HTMLElement,
    presentation: boolean,
  ) {
    this.slider.addEventListener("input", () => state.want({ alpha: alphaAt(Number(this.slider.value)) }));
    this.equal.addEventListener("change", () => state.want({ equal: this.equal.checked }));
    const label = (...children: (Node | string)[]) => make("label", {}, ...children);
    this.parts = {
      rule: label(this.rule),
      alpha: label("α", this.slider, this.alpha),
      shards: label(this.shards, "shards each"),
      nodes: label(this.nodes, "nodes"),
      equal: label(this.equal, "equal sizes"),
      seed: make("span", { class: "ifog-seed" }, this.again, this.seed),
    };
    const shares = button("%", "shares instead of numbers of samples", () => this.toggleShares(shares));
    shares.setAttribute("aria-pressed", String(state.shares));
    const larger = button("Aa", "larger type, for a lecture hall", () => {
      state.larger = this.root.classList.toggle("presentation");
      this.restyle();
    });
    const head = make("div", { class: "ifog-bar" }, this.title, this.facts, make("span", { class: "spring" }), this.measure, this.degree);
    const bar = make("div", { class: "ifog-bar" }, ...Object.values(this.parts), make("span", { class: "spring" }), shares, larger);
    this.root.append(head, bar, this.note, this.box, this.legend, this.tip, this.live);
    parent.append(this.root);
    this.root.classList.toggle("presentation", state.larger ?? presentation);
    // its size is known when it has a place on the page, and then its letters are
    this.sheet = new Sheet(this.box, () => this.restyle(), { role: "img", tabindex: "0" });
    this.theme = readTheme(this.root);
    const { canvas } = this.sheet;
    canvas.addEventListener("pointermove", (event) => this.point(event));
    canvas.addEventListener("pointerleave", () => this.look(null));
    canvas.addEventListener("blur", () => this.look(null));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("click", () => this.at && this.at.cls >= 0 && this.pin(this.at.cls));
    this.endings = [state.subscribe(() => this.write()), watchTheme(() => this.restyle()), () => this.sheet.close(), () => this.frames.close()];
    this.write();
  }

  close(): void {
    for (const end of this.endings) end();
    this.root.remove();
  }

  // ---- controls ------------------------------------------------------------------------------------------------------

  private restyle(): void {
    this.theme = readTheme(this.root);
    this.frames.ask();
  }

  private toggleShares(shares: HTMLButtonElement): void {
    this.state.shares = !this.state.shares;
    shares.setAttribute("aria-pressed", String(this.state.shares));
    this.state.tell();
  }

  private pin(cls: number): void {
    this.state.pinned = this.state.pinned === cls ? -1 : cls;
    this.state.tell();
  }

  private write(): void {
    const { seen, wanted, answers } = this.state;
    this.title.textContent = seen.title;
    this.facts.textContent = seen.sizes + (seen.shown < seen.n ? ` · the first ${seen.shown} of ${group(seen.n)} nodes` : "");
    this.degree.textContent = `heterogeneity ${seen.heterogeneity.toFixed(2)}`;
    this.measure.setAttribute("aria-valuenow", seen.heterogeneity.toFixed(2));
    (this.measure.firstChild as HTMLElement).style.width = `${100 * Math.min(1, seen.heterogeneity)}%`;
    const dirichlet = wanted.rule === "Dirichlet";
    options(this.rule, seen.rules, wanted.rule);
    const position = String(positionOf(wanted.alpha));
    if (this.slider.value !== position) this.slider.value = position;
    this.alpha.textContent = alphaText(wanted.alpha);
    this.slider.setAttribute("aria-valuetext", `α = ${alphaText(wanted.alpha)}`);
    for (const [input, value] of [[this.shards, wanted.shards], [this.nodes, wanted.n]] as const) {
      if (document.activeElement !== input || seen.note === "") input.value = String(value);
    }
    this.equal.checked = wanted.equal;
    this.seed.textContent = `seed ${wanted.seed}`;
    const shown = { rule: answers.all, alpha: answers.alpha && dirichlet, shards: wanted.rule === "by label", nodes: true, equal: dirichlet, seed: true };
    for (const name of Object.keys(this.parts) as (keyof typeof shown)[]) {
      this.parts[name].hidden = !shown[name] || (name !== "alpha" && !answers.all) || (wanted.rule === "as given" && name !== "rule");
    }
    this.note.textContent = seen.note;
    this.note.hidden = !seen.note;
    this.writeLegend();
    const how = dirichlet ? `Dirichlet shares with α = ${alphaText(seen.alpha)}` : seen.rule;
    const said = `${seen.title} dealt to ${seen.n} nodes, ${how}: ${seen.sizes}, heterogeneity ${seen.heterogeneity.toFixed(2)}`;
    this.root.setAttribute("aria-label", said);
    this.sheet.canvas.setAttribute("aria-label", `${said}. Arrow keys go from node to node and from class to class.`);
    if (seen.counts !== this.counts) {
      const alike = this.drawn.length === seen.counts.length && this.counts !== null && !calm();
      [this.from, this.begun, this.counts] = [alike ? this.drawn.slice() : null, performance.now(), seen.counts];
    }
    if (this.at && this.at.node >= seen.shown) this.look(null);
    this.frames.ask();
    const message = this.state.message();
    if (message) this.send(message);
  }

  private writeLegend(): void {
    const { classes } = this.state.seen;
    const names = classes.join("\n");
    if (this.legendOf !== names) {
      this.legendOf = names;
      this.colours = classes.map((_, c) => (classes.length <= CLASSES.length ? CLASSES[c] : viridis(c / (classes.length - 1))));
      if (classes.length > NAMED) {
        const strip = make("span", { class: "ifog-strip" });
        strip.style.background = `linear-gradient(90deg, ${this.colours.join(", ")})`;
        this.legend.replaceChildren(make("span", {}, classes[0]), strip, make("span", {}, classes[classes.length - 1]), this.list);
        options(this.list, ["all classes", ...classes], "all classes");
      } else {
        const entries = classes.map((name, c) => {
          const swatch = make("i");
          swatch.style.background = this.colours[c];
          const made = button(swatch, `only class ${name}`, () => this.pin(c));
          made.append(name);
          made.addEventListener("pointerenter", () => this.look({ node: -2, cls: c }));
          made.addEventListener("pointerleave", () => this.look(null));
          return made;
        });
        this.legend.replaceChildren(...entries);
      }
    }
    this.legend.querySelectorAll("button").forEach((made, c) => made.setAttribute("aria-pressed", String(c === this.state.pinned)));
    if (classes.length > NAMED) options(this.list, ["all classes", ...classes], classes[this.state.pinned] ?? "all classes");
  }

  // ---- what is looked at -----------------------------------------------------------------------------------------------

  private look(at: { node: number; cls: number } | null, pointer?: PointerEvent): void {
    this.at = at;
    this.tip.hidden = !at || at.node < -1;
    if (at && at.node >= -1) {
      this.tip.textContent = this.state.said(at.node, at.cls);
      const { left, bottom, step } = this.layout();
      const area = this.root.getBoundingClientRect();
      const sheet = this.box.getBoundingClientRect();
      const x = pointer ? pointer.clientX - area.left : sheet.left - area.left + left + (at.node + (at.node < 0 ? 1.1 : 1.5) + 0.4) * step;
      const y = pointer ? pointer.clientY - area.top : sheet.top - area.top + bottom - 60;
      const over = x + this.tip.offsetWidth + 24 > area.width;
      this.tip.style.left = `${over ? x - this.tip.offsetWidth - 14 : x + 14}px`;
      this.tip.style.top = `${Math.max(4, y - this.tip.offsetHeight / 2)}px`;
    }
    this.frames.ask();
  }

  private point(event: PointerEvent): void {
    const { left, bottom, height, step } = this.layout();
    const place = (event.offsetX - left) / step;
    const node = place < 1.1 ? -1 : Math.floor(place - 1.4);
    const { seen } = this.state;
    if (place < 0 || (place > 1.1 && place < 1.4) || node >= seen.shown) return this.look(null);
    let level = ((bottom - event.offsetY) / height) * this.top();
    if (this.state.shares) level *= this.state.size(node);
    let cls = -1;
    for (let c = 0; c < seen.classes.length && level >= 0; c++) {
      level -= this.state.count(node, c);
      if (level < 0) cls = c;
    }
    this.look({ node, cls }, event);
  }

  private key(event: KeyboardEvent): void {
    const { seen } = this.state;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.key === "Escape") return this.look(null);
    if (event.key === "Enter" && this.at && this.at.cls >= 0) this.pin(this.at.cls);
    if (!step) return;
    event.preventDefault();
    const at = this.at && this.at.node >= -1 ? this.at : { node: step[0] > 0 ? -1 : 0, cls: -1 };
    const bounded = (value: number, high: number) => Math.max(-1, Math.min(high - 1, value));
    this.look({ node: bounded(at.node + step[0], seen.shown), cls: bounded(at.cls + step[1], seen.classes.length) });
    this.live.textContent = this.state.said(this.at!.node, this.at!.cls).replaceAll("\n", ", ");
  }

  // ---- drawing -----------------------------------------------------------------------------------------------------------

  private layout(): Layout {
    const scale = this.theme.size / 13;
    const left = PLACES.left * scale;
    const bottom = this.sheet.height - PLACES.bottom * scale;
    const step = (this.sheet.width - left - PLACES.right) / (this.state.seen.shown + 1.5);
    return { left, bottom, height: bottom - PLACES.top * scale, step };
  }

  /** What a bar of full height stands for. */
  private top(): number {
    if (this.state.shares) return 1;
    let top = 1;
    for (let node = 0; node < this.state.seen.shown; node++) top = Math.max(top, this.state.size(node));
    return top;
  }

  /** The counts that are drawn now: on their way from the last ones to those that are known. */
  private between(now: number): Float64Array {
    const { counts } = this.state.seen;
    const share = this.from ? Math.min(1, (now - this.begun) / MOVE) : 1;
    const eased = share * (2 - share);
    if (this.drawn.length !== counts.length) this.drawn = new Float64Array(counts.length);
    for (let k = 0; k < counts.length; k++) this.drawn[k] = this.from ? this.from[k] + eased * (counts[k] - this.from[k]) : counts[k];
    if (share === 1) this.from = null;
    else this.frames.ask();
    return this.drawn;
  }

  private draw(now: number): void {
    const { context, canvas, width, height: tall, ratio } = this.sheet;
    const { seen, shares, pinned } = this.state;
    const { left, bottom, height, step } = this.layout();
    const counts = this.between(now);
    const many = seen.classes.length;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, tall);
    context.font = `${this.theme.size * 0.92}px ${this.theme.font}`;
    context.textBaseline = "middle";
    const sums = Array.from({ length: seen.shown + 1 }, (_, place) => {
      let sum = 0;
      for (let c = 0; c < many; c++) sum += counts[place * many + c];
      return sum;
    });
    const top = shares ? 1 : Math.max(1, ...sums.slice(0, seen.shown));
    this.drawAxis(top, left, bottom, height, width);
    const bold = this.at && this.at.cls >= 0 ? this.at.cls : pinned;
    const every = Math.ceil((context.measureText(String(seen.shown)).width + 8) / step);
    for (let node = -1; node < seen.shown; node++) {
      const place = node < 0 ? seen.shown : node;
      const scale = height / (shares ? sums[place] || 1 : node < 0 ? top * seen.n : top);
      const x = left + (node < 0 ? 0.1 : node + 1.5) * step;
      const wide = Math.max(0.8 * step, 0.6);
      let y = bottom;
      for (let c = 0; c < many; c++) {
        const up = counts[place * many + c] * scale;
        if (up <= 0) continue;
        y -= up;
        context.globalAlpha = bold >= 0 && c !== bold ? 0.16 : 1;
        context.fillStyle = this.colours[c];
        context.fillRect(x, y, wide, up - (up > 2.5 ? 0.75 : 0));
        const name = seen.classes[c];
        if (up > this.theme.size && context.globalAlpha === 1 && context.measureText(name).width + 6 < wide) {
          context.fillStyle = dark(this.colours[c]) ? "#fff" : "#1f2328";
          context.textAlign = "center";
          context.fillText(name, x + wide / 2, y + up / 2);
        }
      }
      context.globalAlpha = 1;
      if (this.at?.node === node) {
        context.strokeStyle = this.theme.ink;
        context.lineWidth = 1.5;
        context.strokeRect(x - 2, y - 2, wide + 4, bottom - y + 3);
      }
      if (node < 0 || node % every === 0) {
        context.fillStyle = this.theme.ink;
        context.textAlign = "center";
        context.fillText(node < 0 ? "mean" : String(node), x + wide / 2, bottom + this.theme.size * 0.85);
      }
    }
    context.fillStyle = this.theme.ink;
    context.textAlign = "center";
    context.fillText("node", (left + width) / 2, bottom + this.theme.size * 2);
    canvas.dataset.frames = String(Number(canvas.dataset.frames ?? 0) + 1);
  }

  private drawAxis(top: number, left: number, bottom: number, height: number, width: number): void {
    const { context } = this.sheet;
    context.textAlign = "right";
    for (const value of ticks(top)) {
      const y = bottom - (value / top) * height;
      context.globalAlpha = 0.3;
      context.fillStyle = this.theme.faint;
      context.fillRect(left, y - 0.5, width - left, 1);
      context.globalAlpha = 1;
      context.fillStyle = this.theme.ink;
      context.fillText(this.state.shares ? percent(value) : group(value), left - 6, y);
    }
  }
}

function number(name: string, label: string, low: number, changed: (value: number) => void): HTMLInputElement {
  const made = make("input", { type: "number", min: String(low), step: "1", "aria-label": label, title: label, name });
  made.addEventListener("input", () => {
    const value = Number(made.value);
    if (Number.isInteger(value) && value >= low) changed(value);
  });
  return made;
}

function dark(colour: string): boolean {
  const [r, g, b] = colour.startsWith("#")
    ? [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16))
    : colour.match(/\d+/g)!.map(Number);
  return 0.3 * r + 0.59 * g + 0.11 * b < 140;
}
