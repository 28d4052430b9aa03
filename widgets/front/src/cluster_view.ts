// One view of a cluster: a tile for each engine, the buttons above them, and below what one rank has said last.
import { Ring } from "./cluster_ring";
import { type ClusterState, bytes, doing, seconds, working } from "./cluster_state";
import { button, icon, make } from "./dom";
import type { FromThePage, Tile } from "./messages";

const MANY = 24; // engines; more get small tiles
const SURE = 4000; // milliseconds within which a button that destroys something is to be pressed again
const ICONS = { idle: "ring", busy: "dot", waiting: "sand", frozen: "flake", "no answer": "question", gone: "cross" } as const;

/** The parts of a tile, which stay while what they say changes. */
interface Parts {
  root: HTMLElement;
  open: HTMLButtonElement;
  state: HTMLElement;
  interrupt: HTMLButtonElement;
  freeze: HTMLButtonElement;
  [line: string]: HTMLElement;
}

const LINES = ["about", "doing", "error"] as const;

export class ClusterView {
  private readonly endings: (() => void)[];
  private readonly tiles: Parts[] = [];
  private readonly root = make("div", { class: "ifog ifog-cluster", role: "group", "aria-label": "engines" });
  private readonly title = make("span", { class: "ifog-title" });
  private readonly phase = make("span", { class: "ifog-phase" });
  private readonly facts = make("span", { class: "ifog-soft" });
  private readonly trouble = make("div", { class: "ifog-trouble", role: "alert" });
  private readonly said = make("div", { class: "ifog-soft ifog-line" });
  private readonly ring = new Ring();
  private readonly grid = make("div", { class: "ifog-tiles" });
  private readonly words = make("div", { class: "ifog-words", role: "region", tabindex: "0" });
  private readonly live = make("div", { class: "ifog-unseen", "aria-live": "polite" });
  private readonly buttons: Record<"start" | "interrupt" | "restart" | "stop", HTMLButtonElement>;

  constructor(
    private readonly state: ClusterState,
    private readonly send: (message: FromThePage) => void,
    parent: HTMLElement,
    presentation: boolean,
  ) {
    this.buttons = {
      start: labelled("play", "Start", "start the engines", () => this.ask("start")),
      interrupt: labelled("square", "Interrupt", "interrupt the cell that runs, on all ranks", () => this.ask("interrupt")),
      restart: this.sure(labelled("again", "Restart", "all engines anew: what is in them is lost", () => this.ask("restart"))),
      stop: this.sure(labelled("cross", "Stop", "end the engines: what is in them is lost", () => this.ask("stop"))),
    };
    const larger = button("Aa", "larger type, for a lecture hall", () => this.present(!this.root.classList.contains("presentation")));
    const bar = make("div", { class: "ifog-bar" }, this.title, this.phase, this.facts, make("span", { class: "spring" }));
    bar.append(...Object.values(this.buttons), larger);
    const around = make("div", { class: "ifog-around" }, this.ring.root, this.grid);
    this.root.append(bar, this.trouble, this.said, make("div", { class: "ifog-floor" }, around), this.words, this.live);
    parent.append(this.root);
    this.root.classList.toggle("presentation", state.larger ?? presentation);
    this.endings = [state.subscribe(() => this.write())];
    this.write();
  }

  close(): void {
    for (const end of this.endings) end();
    this.root.remove();
  }

  // ---- controls ------------------------------------------------------------------------------------------------------

  private ask(what: string, rank = -1): void {
    this.send({ type: "do", what, rank });
  }

  private present(on: boolean): void {
    this.root.classList.toggle("presentation", on);
    this.state.larger = on;
  }

  /** A button that destroys something is to be pressed twice, unless nothing is left to destroy. */
  private sure(pressed: HTMLButtonElement): HTMLButtonElement {
    const text = pressed.querySelector("span")!;
    const before = text.textContent!;
    let until = 0;
    pressed.addEventListener(
      "click",
      (event) => {
        if (this.state.seen.phase !== "running" || Date.now() < until) {
          [until, text.textContent] = [0, before];
          return;
        }
        event.stopImmediatePropagation();
        [until, text.textContent] = [Date.now() + SURE, `${before}: sure?`];
        this.live.textContent = `Press again to ${before.toLowerCase()} all engines; what is in them is lost`;
        setTimeout(() => (text.textContent = before), SURE);
      },
      { capture: true },
    );
    return pressed;
  }

  // ---- what is written -------------------------------------------------------------------------------------------------

  private write(): void {
    const { seen, possible } = this.state;
    this.title.textContent = seen.name;
    this.phase.textContent = seen.phase === "off" ? "not running" : seen.phase;
    this.phase.dataset.phase = seen.phase;
    this.facts.textContent = seen.facts;
    this.trouble.textContent = seen.trouble ? `${seen.trouble}. ${seen.phase === "off" ? "Start" : "Restart"} brings new engines.` : "";
    this.trouble.hidden = !seen.trouble;
    this.said.textContent = [seen.said, seen.note].filter(Boolean).join(" · ") || "\u00a0";
    for (const [what, each] of Object.entries(this.buttons) as [keyof typeof possible, HTMLButtonElement][]) {
      each.disabled = !possible[what];
      each.hidden = what === "start" ? !possible.start : seen.phase === "off";
    }
    this.buttons.restart.classList.toggle("wanted", seen.phase === "broken");
    this.grid.classList.toggle("many", seen.n > MANY);
    while (this.tiles.length > seen.tiles.length) this.tiles.pop()!.root.remove();
    while (this.tiles.length < seen.tiles.length) this.addTile(this.tiles.length);
    seen.tiles.forEach((tile, rank) => this.writeTile(tile, this.tiles[rank]));
    this.ring.write(this.state);
    const busy = seen.tiles.filter(working).length;
    const said = `${seen.name} ${this.phase.textContent}: ${busy} of ${seen.n} engines busy. ${seen.trouble || seen.said}`;
    this.root.setAttribute("aria-label", said);
    this.writeWords();
  }

  private addTile(rank: number): void {
    const state = make("span", { class: "ifog-state" });
    const open = button(make("b", {}, `rank ${rank}`), "", () => this.ask("open", this.state.toggle(rank)));
    open.removeAttribute("title");
    open.append(state);
    const interrupt = button(icon("square"), `interrupt rank ${rank}`, () => this.ask("interrupt", rank));
    const freeze = button(icon("flake"), `freeze rank ${rank} for 5 seconds: see who waits for it`, () => this.ask("freeze", rank));
    const lines = Object.fromEntries(LINES.map((line) => [line, make("div", { class: `ifog-${line}` })]));
    const root = make("div", { class: "ifog-tile" }, make("div", { class: "ifog-head" }, open, interrupt, freeze), ...Object.values(lines));
    root.addEventListener("click", (event) => {
      if (!(event.target as Element).closest("button")) open.click();
    });
    this.grid.append(root);
    this.tiles.push({ root, open, state, interrupt, freeze, ...lines } as Parts);
  }

  private writeTile(tile: Tile, parts: Parts): void {
    const shape = ICONS[tile.state as keyof typeof ICONS];
    if (parts.root.dataset.state !== tile.state) {
      parts.root.dataset.state = tile.state;
      parts.state.replaceChildren(...(shape ? [icon(shape)] : []), tile.state);
    }
    const about = [tile.host && this.state.seen.facts.includes("hosts") ? tile.host : "", tile.memory ? bytes(tile.memory) : ""];
    about.push(tile.gpu ? `GPU ${tile.gpu}${tile.gpu_memory ? ` ${bytes(tile.gpu_memory)}` : ""}` : "");
    about.push(tile.threads ? `${tile.threads} thread${tile.threads > 1 ? "s" : ""}` : "", tile.pid ? `pid ${tile.pid}` : "");
    about.push(tile.exchanges ? `${tile.exchanges.toLocaleString("en-US")} exchange${tile.exchanges > 1 ? "s" : ""}` : "");
    put(parts.about, about.filter(Boolean).map((each) => each.replaceAll(" ", "\u00a0")).join(" · "));
    put(parts.doing, working(tile) || doing(tile) ? `${seconds(tile.seconds)} · ${doing(tile)}` : "");
    put(parts.error, tile.error ? tile.error + (tile.error_ago ? ` (${seconds(tile.error_ago)} ago)` : "") : "");
    parts.interrupt.hidden = !working(tile);
    parts.freeze.hidden = !this.state.freezable(tile);
    const open = this.state.open === tile.rank;
    parts.open.setAttribute("aria-expanded", String(open));
    parts.root.classList.toggle("open", open);
    const said = [`rank ${tile.rank}`, tile.state, doing(tile), tile.error && `last error: ${tile.error}`];
    parts.open.setAttribute("aria-label", `${said.filter(Boolean).join(", ")}; show its last output and error`);
  }

  private writeWords(): void {
    const { open, shown } = this.state;
    this.words.hidden = open < 0;
    if (open < 0) return;
    this.words.setAttribute("aria-label", `what rank ${open} has said last`);
    const parts = [
      ["its last cell", shown?.code],
      ["it has printed last", shown?.output],
      ["its last error", shown?.error],
      ["its log", shown?.log],
    ].filter(([, text]) => text) as [string, string][];
    const wanted = JSON.stringify([open, shown !== null, parts]);
    if (this.words.dataset.shown === wanted) return; // else a selection in it would be lost
    this.words.dataset.shown = wanted;
    const close = button(icon("cross"), "close", () => this.ask("open", this.state.toggle(open)));
    const head = make("div", { class: "ifog-head" }, make("b", {}, `rank ${open}`), make("span", { class: "spring" }), close);
    const body = parts.map(([name, text]) => make("div", {}, make("div", { class: "ifog-soft" }, name), make("pre", {}, text.trimEnd())));
    const nothing = shown ? "it has said nothing yet" : "…";
    this.words.replaceChildren(head, ...(body.length ? body : [make("div", { class: "ifog-soft" }, nothing)]));
    for (const pre of this.words.querySelectorAll("pre")) pre.scrollTop = pre.scrollHeight;
  }
}

function labelled(shape: Parameters<typeof icon>[0], text: string, label: string, pressed: () => void): HTMLButtonElement {
  const made = button(icon(shape), label, pressed);
  made.append(" ", make("span", {}, text));
  return made;
}

function put(line: HTMLElement, text: string): void {
  if (line.textContent !== text) line.textContent = text;
  line.title = text;
  line.hidden = !text;
}
