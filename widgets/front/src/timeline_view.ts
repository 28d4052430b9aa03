// One view of a timeline: the controls around it, the mouse and the keyboard.
import { Frames, Sheet, button, icon, make } from "./dom";
import type { File, FromThePage } from "./messages";
import { type Theme, readTheme, watchTheme } from "./theme";
import { COLOURS, Painter, type Sizes, spanColour, tops } from "./timeline_paint";
import { NOTHING, type TimelineState, duration, size } from "./timeline_state";

const SAYS: Record<string, string> = { copy: "copy and add", span: "spans", other: "others" };
const TALLEST = 460; // pixels of a picture; what is taller is scrolled
const HELP = `timeline; arrow keys left and right move, plus and minus zoom, 0 shows everything, up and down choose a row,
 n and p go from one event to the next and back, Enter zooms to it`;

export class TimelineView {
  private theme: Theme;
  private sizes: Sizes = { left: 100, axis: 24, lane: 18, gap: 10, width: 0, height: 0, top: 0 };
  private frames = 0;
  private held: { x: number; y: number; from: number; to: number; top: number } | null = null;
  private readonly painter = new Frames(() => this.paint());
  private readonly endings: (() => void)[];

  private readonly root = make("div", { class: "ifog ifog-timeline", role: "group" });
  private readonly title = make("span", { class: "ifog-title" });
  private readonly part = make("span", { class: "ifog-soft ifog-part" });
  private readonly note = make("div", { class: "ifog-soft" });
  private readonly legend = make("div", { class: "ifog-legend", role: "img" });
  private readonly box = make("div", { class: "ifog-sheet" });
  private readonly tip = make("div", { class: "ifog-tip", hidden: true });
  private readonly status = make("div", { class: "ifog-unseen", "aria-live": "polite" });
  private readonly table = make("table", { class: "ifog-shares" });
  private readonly shares = button("Shares", "which share of the time each rank computed, waited and copied", () => this.toggleTable());
  private readonly sheet: Sheet;
  private readonly drawing: Painter;

  constructor(
    private readonly state: TimelineState,
    private readonly send: (message: FromThePage) => void,
    parent: HTMLElement,
    presentation: boolean,
  ) {
    const zoom = (factor: number) => this.change(() => state.zoom(factor, (state.from + state.to) / 2));
    const controls = make("span", { class: "ifog-group", role: "group", "aria-label": "zoom" });
    controls.append(
      button("+", "zoom in", () => zoom(2)),
      button("−", "zoom out", () => zoom(0.5)),
      button(icon("fit"), "see everything", () => this.change(() => state.fit())),
    );
    const save = button("Perfetto", "save the trace as a file: open it at ui.perfetto.dev", () => this.save());
    const larger = button("Aa", "larger type, for a lecture hall", () => this.present(!this.root.classList.contains("presentation")));
    const bar = make("div", { class: "ifog-bar" }, this.title, this.part, make("span", { class: "spring" }), controls);
    bar.append(this.shares, save, larger);
    this.root.append(bar, this.legend, this.box, this.note, this.table, this.tip, this.status);
    parent.append(this.root);
    this.root.classList.toggle("presentation", state.larger ?? presentation);
    this.theme = readTheme(this.root);
    this.sheet = new Sheet(this.box, () => this.restyle(), { tabindex: "0", role: "application", "aria-label": HELP });
    this.drawing = new Painter(this.sheet.context, state);
    const { canvas } = this.sheet;
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerup", () => (this.held = null));
    canvas.addEventListener("pointerleave", () => this.choose(NOTHING));
    canvas.addEventListener("dblclick", (event) => this.change(() => state.zoom(4, this.timeAt(event.offsetX))));
    canvas.addEventListener("keydown", (event) => this.key(event));
    this.endings = [
      state.subscribe(() => this.write()),
      watchTheme(() => this.restyle()),
      () => this.sheet.close(),
      () => this.painter.close(),
    ];
    this.write();
  }

  close(): void {
    for (const end of this.endings) end();
    this.root.remove();
  }

  // ---- controls ------------------------------------------------------------------------------------------------------

  private change(change: () => void): void {
    change();
    this.state.tell();
  }

  private toggleTable(): void {
    this.change(() => (this.state.table = !this.state.table));
  }

  private present(on: boolean): void {
    this.root.classList.toggle("presentation", on);
    this.state.larger = on;
    this.restyle();
  }

  private restyle(): void {
    this.theme = readTheme(this.root);
    this.write();
  }

  private save(): void {
    this.state.saving = (file: File) => {
      const link = make("a", { download: file.name, href: URL.createObjectURL(new Blob([file.text], { type: "application/json" })) });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    };
    this.send({ type: "fetch" });
  }

  // ---- mouse and keyboard --------------------------------------------------------------------------------------------

  private get across(): number {
    return Math.max(1, this.sizes.width - this.sizes.left);
  }

  private timeAt(x: number): number {
    const { from, to } = this.state;
    return from + ((x - this.sizes.left) / this.across) * (to - from);
  }

  /** With Ctrl it zooms, with Shift or sideways it moves; otherwise it scrolls the rows, or the page if all are there. */
  private wheel(event: WheelEvent): void {
    const { state } = this;
    const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) {
      this.change(() => state.zoom(Math.exp(-event.deltaY / 300), this.timeAt(event.offsetX)));
    } else if (Math.abs(sideways) > (event.shiftKey ? 0 : Math.abs(event.deltaY))) {
      this.change(() => state.move(sideways / this.across));
    } else {
      const before = this.sizes.top;
      this.scroll(before + event.deltaY);
      if (this.sizes.top === before) return;
    }
    event.preventDefault();
  }

  private scroll(top: number): void {
    const rows = tops(this.state, this.sizes).at(-1)!;
    this.sizes.top = Math.max(0, Math.min(top, rows - this.sizes.height));
    this.painter.ask();
  }

  private press(event: PointerEvent): void {
    const { from, to } = this.state;
    this.held = { x: event.offsetX, y: event.offsetY, from, to, top: this.sizes.top };
    this.sheet.canvas.setPointerCapture(event.pointerId);
  }

  private hover(event: PointerEvent): void {
    const { state, held, sizes } = this;
    if (held && event.buttons) {
      const by = ((held.x - event.offsetX) / this.across) * (held.to - held.from);
      const bounded = Math.max(-held.from, Math.min(by, (state.trace?.end ?? 0) - held.to));
      this.scroll(held.top + held.y - event.offsetY);
      this.change(() => state.look(held.from + bounded, held.to + bounded));
      return;
    }
    const places = tops(state, sizes);
    const y = event.offsetY + sizes.top;
    const row = places.findLastIndex((top) => top <= y);
    const lane = Math.floor((y - places[row]) / sizes.lane);
    const inside = event.offsetY > sizes.axis && event.offsetX > sizes.left && state.rows[row] !== undefined;
    const slack = (2 * (state.to - state.from)) / this.across;
    this.choose(inside ? state.find(row, lane, this.timeAt(event.offsetX), slack) : NOTHING, event.offsetX, event.offsetY);
  }

  private choose(segment: number, x = 0, y = 0): void {
    const changed = segment !== this.state.spot;
    this.state.spot = segment;
    this.tip.hidden = segment === NOTHING;
    if (segment !== NOTHING) {
      this.tip.textContent = this.describe(segment);
      const left = this.box.offsetLeft + x + 14;
      const most = this.box.offsetLeft + this.box.clientWidth - this.tip.offsetWidth - 4;
      this.tip.style.left = `${left > most ? Math.max(4, this.box.offsetLeft + x - this.tip.offsetWidth - 14) : left}px`;
      this.tip.style.top = `${this.box.offsetTop + y + 16}px`;
    }
    if (changed) this.painter.ask();
  }

  private key(event: KeyboardEvent): void {
    const { state } = this;
    const step = event.key === "n" ? 1 : event.key === "p" ? -1 : 0;
    const does: Record<string, () => void> = {
      ArrowLeft: () => state.move(-0.15),
      ArrowRight: () => state.move(0.15),
      ArrowUp: () => this.goTo(state.row - 1),
      ArrowDown: () => this.goTo(state.row + 1),
      "+": () => state.zoom(2, this.centre()),
      "=": () => state.zoom(2, this.centre()),
      "-": () => state.zoom(0.5, this.centre()),
      "0": () => state.fit(),
      Home: () => state.fit(),
      n: () => this.step(step),
      p: () => this.step(step),
      Enter: () => this.zoomToSpot(),
      Escape: () => this.choose(NOTHING),
    };
    if (!does[event.key] || event.ctrlKey || event.metaKey || !state.trace) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has commands of its own on these keys
    this.change(does[event.key]);
  }

  private centre(): number {
    const { state } = this;
    if (state.spot === NOTHING) return (state.from + state.to) / 2;
    return (state.trace!.begin[state.spot] + state.end(state.spot)) / 2;
  }

  private goTo(row: number): void {
    this.state.row = Math.max(0, Math.min(this.state.rows.length - 1, row));
    this.choose(NOTHING);
    const places = tops(this.state, this.sizes);
    const { top, height, axis } = this.sizes;
    if (places[row] - top < axis) this.scroll(places[this.state.row] - axis);
    if (places[this.state.row + 1] - top > height) this.scroll(places[this.state.row + 1] - height);
    this.status.textContent = this.inWords(this.state.row);
  }

  private step(by: number): void {
    const { state, sizes } = this;
    const segment = state.next(by);
    if (segment === NOTHING) return;
    const begin = state.trace!.begin[segment];
    if (begin < state.from || state.end(segment) > state.to) {
      const half = Math.max((state.to - state.from) / 2, state.trace!.length[segment]);
      state.look(begin + state.trace!.length[segment] / 2 - half, begin + state.trace!.length[segment] / 2 + half);
    }
    const { row, lane } = state.of(segment);
    const x = sizes.left + ((begin - state.from) / (state.to - state.from)) * this.across;
    this.choose(segment, Math.max(sizes.left, x), tops(state, sizes)[row] - sizes.top + (lane + 1) * sizes.lane);
    this.status.textContent = this.tip.textContent;
  }

  private zoomToSpot(): void {
    const { state } = this;
    if (state.spot === NOTHING) return;
    const [begin, end] = [state.trace!.begin[state.spot], state.end(state.spot)];
    state.look(begin - 0.2 * (end - begin), end + 0.2 * (end - begin));
  }

  // ---- what is written -----------------------------------------------------------------------------------------------

  private describe(segment: number): string {
    const { state } = this;
    const trace = state.trace!;
    const what = state.of(segment);
    const lines = [`${state.rows[what.row].name}: ${what.name}`];
    const around = trace.kinds[what.kind] === "wait" ? state.callOf(segment) : NOTHING;
    if (around !== NOTHING) lines.push(`in ${state.of(around).name}`);
    if (what.call && what.call !== what.name) lines.push(what.call);
    lines.push(`${duration(trace.length[segment])}, from ${duration(trace.begin[segment])}`);
    if (what.bytes) lines.push(size(what.bytes));
    const [sent, got] = [[] as string[], [] as string[]];
    if (["copy", "send"].includes(trace.kinds[what.kind])) {
      for (const k of state.arrowsOf(segment)) {
        const [from, to] = [trace.ends[2 * k], trace.ends[2 * k + 1]];
        if (from === what.row) sent.push(state.rows[to].name);
        else got.push(`${state.rows[from].name} (${size(trace.sizes[k])})`);
      }
      if (got.length) lines.push(`from ${[...new Set(got)].sort().slice(0, 6).join(", ")}`);
      if (sent.length) lines.push(`to ${[...new Set(sent)].sort().slice(0, 6).join(", ")}`);
    }
    if (what.error) lines.push(`failed: ${what.error}`);
    return lines.join("\n");
  }

  private inWords(k: number): string {
    const row = this.state.rows[k];
    if (!row) return "";
    const shares = row.compute < 0 ? "" : `: ${percent(row.compute)} computing, ${percent(row.wait)} waiting, ${percent(row.copy)} copying`;
    return `${row.name}${shares}${row.note ? `; ${row.note}` : ""}`;
  }

  private write(): void {
    const { state, theme, sizes } = this;
    const { trace } = state;
    if (!trace) return;
    const large = theme.size > 16;
    Object.assign(sizes, { left: 7.6 * theme.size, axis: 1.9 * theme.size, lane: large ? 26 : 18, gap: large ? 16 : 12 });
    if (state.rows.length > 40) Object.assign(sizes, { lane: 12, gap: 3 });
    const wanted = tops(state, sizes).at(-1)!;
    this.box.style.height = `${Math.max(3 * theme.size, Math.min(wanted, large ? 1.2 * TALLEST : TALLEST))}px`;
    this.title.textContent = trace.title;
    this.part.textContent =
      state.to - state.from < trace.end ? `${duration(state.from)} to ${duration(state.to)} of ${duration(trace.end)}` : duration(trace.end);
    const messages = trace.lent.length ? `, ${trace.lent.length.toLocaleString("en")} messages` : "";
    const help = state.rows.length ? ` · drag to move, Ctrl and the wheel to zoom` : "";
    this.note.textContent = `${trace.begin.length.toLocaleString("en")} events${messages}${help}${trace.note ? ` · ${trace.note}` : ""}`;
    this.root.setAttribute("aria-label", `timeline ${trace.title}: ${state.rows.map((_, k) => this.inWords(k)).slice(0, 16).join("; ")}`);
    this.shares.hidden = !state.rows.some((row) => row.compute >= 0);
    this.shares.setAttribute("aria-pressed", String(state.table));
    this.writeLegend();
    this.writeTable();
    this.painter.ask();
  }

  private writeLegend(): void {
    const { state } = this;
    const kinds = new Set(state.layers.map((layer) => state.trace!.kinds[layer.kind]));
    const shown = ["compute", "copy", "wait", "send", "under way"].filter((kind) => kinds.has(kind) || (kind === "compute" && !this.shares.hidden));
    const entries = shown.map((kind) => entry(kind, SAYS[kind] ?? kind, COLOURS[kind]));
    const names = new Set(state.trace!.whats.filter((what) => ["span", "other"].includes(state.trace!.kinds[what.kind])).map((what) => what.name.replace(/[\s\d.]+$/, "")));
    for (const name of [...names].slice(0, 5)) entries.push(entry("span", name, spanColour(name)));
    if (names.size > 5) entries.push(make("span", { class: "ifog-soft" }, `and ${names.size - 5} more`));
    this.legend.replaceChildren(...entries);
    this.legend.setAttribute("aria-label", `colours: ${[...shown, ...names].slice(0, 12).join(", ")}`);
  }

  private writeTable(): void {
    this.table.hidden = !this.state.table;
    if (this.table.hidden) return;
    const head = make("tr", {}, ...["", "compute", "copy", "wait"].map((text) => make("th", { scope: "col" }, text)));
    const rows = this.state.rows.map((row) =>
      make("tr", {}, make("th", { scope: "row" }, row.name), ...[row.compute, row.copy, row.wait].map((share) => make("td", {}, percent(share)))),
    );
    this.table.replaceChildren(head, ...rows);
  }

  private paint(): void {
    const { sheet, sizes } = this;
    if (!sheet.width) return;
    Object.assign(sizes, { width: sheet.width, height: sheet.height });
    sheet.context.setTransform(sheet.ratio, 0, 0, sheet.ratio, 0, 0);
    this.drawing.paint(sizes, this.theme, document.activeElement === sheet.canvas);
    this.frames += 1;
    sheet.canvas.dataset.frames = String(this.frames);
  }
}

function entry(kind: string, name: string, colour: string): HTMLElement {
  const swatch = make("i", { class: `ifog-swatch ${kind.replace(" ", "-")}` });
  swatch.style.background = colour;
  return make("span", {}, swatch, name);
}

function percent(share: number): string {
  return share < 0 ? "" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}
