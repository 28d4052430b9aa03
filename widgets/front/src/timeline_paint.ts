// How a timeline is painted: rows, segments, the axis, and messages as slanted arrows.
import type { Theme } from "./theme";
import { type Layer, NOTHING, type TimelineState, duration, ticks } from "./timeline_state";

export const COLOURS: Record<string, string> = {
  compute: "#009e73",
  wait: "#e69f00",
  copy: "#0072b2",
  send: "#cc79a7",
  span: "#56b4e9",
  "under way": "#999933",
  other: "#56b4e9",
};
const DARK = new Set(["copy"]); // on which letters are white
const FAINT = 0.3;
const ARROWS = 150; // more are drawn for what is pointed at only
const LEVELS = 8;
const SPANS = ["#56b4e9", "#b8a0d8", "#e3c94f", "#8fc7a3", "#e08fa8", "#c9b49a"]; // by their names; all bear dark letters

/** Where everything is. */
export interface Sizes {
  left: number;
  axis: number;
  lane: number;
  gap: number;
  width: number;
  height: number;
  /** How far the rows are scrolled. */
  top: number;
}

/** Where each row begins, and behind the last one where it ends. */
export function tops(state: TimelineState, sizes: Sizes): number[] {
  const found = [sizes.axis];
  for (const row of state.rows) found.push(found.at(-1)! + row.lanes * sizes.lane + sizes.gap);
  return found;
}

export function spanColour(name: string): string {
  let hash = 0;
  for (const letter of name.replace(/[\d.]+/g, "")) hash = (hash * 31 + letter.charCodeAt(0)) >>> 0;
  return SPANS[hash % SPANS.length];
}

export class Painter {
  private hatch: CanvasPattern | null = null;

  constructor(
    private readonly context: CanvasRenderingContext2D,
    private readonly state: TimelineState,
  ) {}

  paint(sizes: Sizes, theme: Theme, chosen: boolean): void {
    const { context, state } = this;
    const { left, axis, width, height } = sizes;
    context.clearRect(0, 0, width, height);
    if (!state.trace) return;
    const places = tops(state, sizes).map((top) => top - sizes.top);
    context.save();
    context.beginPath();
    context.rect(0, axis, width, height - axis);
    context.clip();
    this.rows(sizes, theme, places, chosen);
    context.beginPath();
    context.rect(left, axis, width - left, height - axis);
    context.clip();
    this.grid(sizes, theme);
    for (const layer of state.layers) {
      const top = places[layer.row] + layer.lane * sizes.lane;
      if (top < height && top + sizes.lane > axis) this.layer(layer, top, sizes, theme);
    }
    this.arrows(sizes, theme, places);
    this.spot(sizes, theme, places);
    context.restore();
    this.axis(sizes, theme);
  }

  private x(time: number, sizes: Sizes): number {
    const { from, to } = this.state;
    return sizes.left + ((time - from) / (to - from)) * (sizes.width - sizes.left);
  }

  /** Names, shares, and behind everything the time that was computed: whatever is in no call. */
  private rows(sizes: Sizes, theme: Theme, places: number[], chosen: boolean): void {
    const { context, state } = this;
    const bar = sizes.left - 14;
    state.rows.forEach((row, k) => {
      const top = places[k];
      if (top > sizes.height || places[k + 1] < sizes.axis) return;
      [context.fillStyle, context.font, context.textAlign] = [theme.ink, `600 ${theme.size}px ${theme.font}`, "left"];
      context.textBaseline = "middle";
      context.fillText(short(row.name, 16), 4, top + sizes.lane / 2 - 1, bar);
      if (chosen && k === state.row) {
        context.fillStyle = theme.accent;
        context.fillRect(0, top, 2.5, sizes.lane);
      }
      if (row.compute < 0) return;
      let at = 4;
      const thick = Math.min(5, sizes.lane / 3);
      for (const [name, share] of [["compute", row.compute], ["copy", row.copy], ["wait", row.wait]] as const) {
        context.fillStyle = COLOURS[name];
        context.fillRect(at, top + Math.max(sizes.lane, 1.3 * theme.size), bar * share, thick);
        at += bar * share;
      }
      const [begin, end] = [Math.max(sizes.left, this.x(0, sizes)), Math.min(sizes.width, this.x(state.trace!.end, sizes))];
      context.globalAlpha = FAINT;
      context.fillStyle = COLOURS.compute;
      context.fillRect(begin, top, end - begin, sizes.lane - 1);
      context.globalAlpha = 1;
    });
  }

  private grid(sizes: Sizes, theme: Theme): void {
    const { context, state } = this;
    context.fillStyle = theme.faint;
    context.globalAlpha = 0.25;
    for (const time of ticks(state.from, state.to, (sizes.width - sizes.left) / 90)) {
      context.fillRect(Math.round(this.x(time, sizes)), sizes.axis, 1, sizes.height - sizes.axis);
    }
    context.globalAlpha = 1;
  }

  private layer(layer: Layer, top: number, sizes: Sizes, theme: Theme): void {
    const { context, state } = this;
    const { trace } = state;
    const kind = trace!.kinds[layer.kind];
    const pixels = Math.max(1, Math.floor(sizes.width - sizes.left));
    const { wide, shares } = state.bars(layer, pixels);
    const tall = sizes.lane - 1;
    context.fillStyle = COLOURS[kind];
    for (let x = 0; x < pixels; ) {
      const level = Math.ceil(Math.min(1, shares[x]) * LEVELS);
      let end = x + 1;
      while (end < pixels && Math.ceil(Math.min(1, shares[end]) * LEVELS) === level) end++;
      if (level > 0) {
        context.globalAlpha = level / LEVELS;
        context.fillRect(sizes.left + x, top, end - x, tall);
      }
      x = end;
    }
    context.globalAlpha = 1;
    context.font = `${Math.min(0.88 * theme.size, 0.8 * sizes.lane)}px ${theme.font}`;
    [context.textAlign, context.textBaseline] = ["left", "middle"];
    const ground = (time: number) => Math.max(sizes.left - 2, Math.min(sizes.width + 2, this.x(time, sizes)));
    for (const id of wide) {
      const [begin, end] = [ground(trace!.begin[id]), ground(state.end(id))];
      const what = state.of(id);
      context.fillStyle = kind === "span" || kind === "other" ? spanColour(what.name) : COLOURS[kind];
      context.fillRect(begin, top, end - begin - (end - begin > 4 ? 0.5 : 0), tall);
      if (kind === "wait" && end - begin > 5) {
        context.fillStyle = this.hatching();
        context.fillRect(begin, top, end - begin, tall);
      }
      if (what.error) {
        context.fillStyle = theme.accent;
        context.fillRect(begin, top + tall - 3, end - begin, 3);
      }
      const free = kind === "wait" ? end : Math.min(end, this.x(state.firstWait(what.row, what.lane, Math.max(trace!.begin[id], state.from)), sizes));
      if (free - begin < 30) continue;
      const text = kind === "wait" && what.peer >= 0 ? `wait for ${what.peer}` : what.name;
      if (context.measureText(text.slice(0, 9)).width > free - begin - 6) continue;
      context.save();
      context.beginPath();
      context.rect(begin, top, free - begin - 2, tall);
      context.clip();
      context.fillStyle = DARK.has(kind) ? "#fff" : "#111";
      context.fillText(text, begin + 4, top + tall / 2 + 0.5);
      context.restore();
    }
  }

  private arrows(sizes: Sizes, theme: Theme, places: number[]): void {
    const { context, state } = this;
    const visible = state.arrows();
    const own = state.spot === NOTHING ? [] : state.arrowsOf(state.spot);
    context.lineWidth = 1;
    if (visible.length <= ARROWS) for (const k of visible) this.arrow(k, theme.ink, 0.55, sizes, places);
    context.lineWidth = 2;
    for (const k of own.slice(0, ARROWS)) this.arrow(k, theme.accent, 1, sizes, places);
  }

  private arrow(k: number, colour: string, opacity: number, sizes: Sizes, places: number[]): void {
    const { context } = this;
    const { lent, found, ends } = this.state.trace!;
    const [x0, x1] = [this.x(lent[k], sizes), this.x(found[k], sizes)];
    const [y0, y1] = [ends[2 * k], ends[2 * k + 1]].map((row) => places[row] + sizes.lane / 2);
    const angle = Math.atan2(y1 - y0, x1 - x0);
    [context.strokeStyle, context.fillStyle, context.globalAlpha] = [colour, colour, opacity];
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
    context.beginPath();
    context.moveTo(x1, y1);
    for (const side of [-0.4, 0.4]) context.lineTo(x1 - 7 * Math.cos(angle + side), y1 - 7 * Math.sin(angle + side));
    context.fill();
    context.beginPath();
    context.arc(x0, y0, 1.8, 0, 2 * Math.PI);
    context.fill();
    context.globalAlpha = 1;
  }

  private spot(sizes: Sizes, theme: Theme, places: number[]): void {
    const { context, state } = this;
    if (state.spot === NOTHING) return;
    const { row, lane } = state.of(state.spot);
    const [begin, end] = [this.x(state.trace!.begin[state.spot], sizes), this.x(state.end(state.spot), sizes)];
    [context.strokeStyle, context.lineWidth] = [theme.ink, 2];
    context.strokeRect(begin - 1, places[row] + lane * sizes.lane - 1, Math.max(3, end - begin + 1), sizes.lane + 1);
  }

  private axis(sizes: Sizes, theme: Theme): void {
    const { context, state } = this;
    [context.font, context.textAlign, context.textBaseline] = [`${0.92 * theme.size}px ${theme.font}`, "center", "middle"];
    context.fillStyle = theme.ink;
    const marks = ticks(state.from, state.to, (sizes.width - sizes.left) / (7 * theme.size));
    for (const time of marks) {
      const x = this.x(time, sizes);
      const text = duration(time);
      const half = context.measureText(text).width / 2;
      context.fillText(text, Math.max(sizes.left + half, Math.min(x, sizes.width - half)), sizes.axis / 2);
    }
    context.fillStyle = theme.faint;
    context.fillRect(sizes.left, sizes.axis - 1, sizes.width - sizes.left, 1);
  }

  private hatching(): CanvasPattern {
    if (!this.hatch) {
      const tile = document.createElement("canvas");
      [tile.width, tile.height] = [6, 6];
      const context = tile.getContext("2d")!;
      [context.strokeStyle, context.lineWidth] = ["rgb(0 0 0 / 0.22)", 1.2];
      for (const shift of [-6, 0, 6]) {
        context.beginPath();
        context.moveTo(shift, 6);
        context.lineTo(shift + 6, 0);
        context.stroke();
      }
      this.hatch = this.context.createPattern(tile, "repeat")!;
    }
    return this.hatch;
  }
}

function short(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
