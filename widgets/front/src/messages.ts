// Written by `python -m ifog.widgets.messages`: change widgets/messages.py instead.

export interface Mark {
  at: number;
  what: string;
}

export interface Rate {
  at: number;
  rate: number;
}

export interface RunState {
  name: string;
  status: string;
  note: string;
  marks: Mark[];
  theory: Rate[];
  shrinking: string[];
  group: string;
  ghost: boolean;
}

export interface Part {
  run: number;
  first: number;
  count: number;
  columns: string[];
}

export interface Tile {
  rank: number;
  host: string;
  pid: number;
  gpu: string;
  threads: number;
  memory: number;
  gpu_memory: number;
  state: string;
  cell: string;
  seconds: number;
  operation: string;
  waits_for: number;
  exchanges: number;
  told: number[];
  error: string;
  error_ago: number;
}

export interface Knob {
  name: string;
  texts: string[];
  choice: boolean;
}

export interface Option {
  name: string;
  unfit: string;
}

export interface Dial {
  name: string;
  value: number;
  low: number;
  high: number;
  log: boolean;
  whole: boolean;
  about: string;
}

export interface Row {
  name: string;
  note: string;
  lanes: number;
  compute: number;
  wait: number;
  copy: number;
}

export interface What {
  row: number;
  lane: number;
  kind: number;
  name: string;
  call: string;
  bytes: number;
  peer: number;
  error: string;
}

/** All that is drawn of a topology. A line joins two nodes a < b; its weights are W[b, a] and W[a, b], or NaN. */
export interface Graph {
  type: "graph";
  version: number;
  n: number;
  title: string;
  facts: string[];
  note: string;
  editable: boolean;
  directed: boolean;
  weighted: boolean;
  layouts: string[];
  layout: string;
  positions: Float32Array;
  lines: Uint32Array;
  ends: Uint32Array;
  lit: Uint32Array;
  weights: Float32Array;
  own: Float32Array;
  machines: string[];
  machine: Uint32Array;
  spectrum: string;
  eigenvalues: Float32Array;
}

/** A topology with too many nodes to draw each: squares that stand for some nodes, and W in blocks. */
export interface Blocks {
  type: "blocks";
  n: number;
  title: string;
  facts: string[];
  note: string;
  cells: number;
  columns: number;
  shades: Float32Array;
}

/** The values of the nodes (or of the squares), and the round they belong to. */
export interface Values {
  type: "values";
  low: number;
  high: number;
  log: boolean;
  what: string;
  choices: string[];
  names: string[];
  round: number;
  count: number;
  values: Float32Array;
  lit: Uint32Array;
  weights: Float32Array;
  own: Float32Array;
}

/** Where the nodes go. */
export interface Places {
  type: "places";
  layout: string;
  positions: Float32Array;
}

/** What is to be drawn at first; the page may choose other columns. */
export interface Curves {
  type: "curves";
  y: string;
  x: string;
  log: boolean;
  band: boolean;
}

/** The state of all runs, and the rows that are new. */
export interface Rows {
  type: "rows";
  runs: RunState[];
  parts: Part[];
  rows: Float64Array;
}

/** How a cluster is, and each of its engines. */
export interface Tiles {
  type: "tiles";
  name: string;
  n: number;
  phase: string;
  facts: string;
  said: string;
  trouble: string;
  note: string;
  tiles: Tile[];
}

/** What a rank has said last, in whole. */
export interface Words {
  type: "words";
  rank: number;
  code: string;
  output: string;
  error: string;
  log: string;
}

/** The controls; one of them may run by itself, or −1. */
export interface Knobs {
  type: "knobs";
  title: string;
  knobs: Knob[];
  play: number;
}

/** What was drawn, for which positions of the controls, and the turn that asked for it. */
export interface Picture {
  type: "picture";
  svg: string;
  at: number[];
  turn: number;
}

/** What there is to choose from. */
export interface Choices {
  type: "choices";
  problems: string[];
  methods: string[];
  topologies: Option[];
  places: string[];
}

/** What is set, and how what runs is. */
export interface Bench {
  type: "bench";
  problem: string;
  method: string;
  topology: string;
  n: number;
  fixed: boolean;
  heterogeneity: number;
  place: string;
  pace: number;
  dials: Dial[];
  about: string;
  status: string;
  iteration: number;
  speed: number;
  pending: string[];
  later: string[];
  said: string;
  trouble: boolean;
}

/** What the race of the runs whose curves are shown is about. */
export interface Race {
  type: "race";
  by: string;
  target: number;
  value: string;
  measures: string[];
}

/** All that is drawn of a trace, in microseconds since its beginning. */
export interface Trace {
  type: "trace";
  title: string;
  note: string;
  end: number;
  live: boolean;
  kinds: string[];
  rows: Row[];
  whats: What[];
  begin: Float64Array;
  length: Float32Array;
  what: Uint32Array;
  lent: Float64Array;
  found: Float64Array;
  ends: Uint32Array;
  sizes: Float32Array;
}

/** A file to be saved. */
export interface File {
  type: "file";
  name: string;
  text: string;
}

/** How many samples of each class each node has, and how they were dealt. */
export interface Bars {
  type: "bars";
  title: string;
  classes: string[];
  n: number;
  shown: number;
  rules: string[];
  rule: string;
  alpha: number;
  shards: number;
  seed: number;
  equal: boolean;
  heterogeneity: number;
  sizes: string;
  note: string;
  turn: number;
  counts: Uint32Array;
}

/** For a page that nobody answers: what Dirichlet shares give for each α of the slider. */
export interface Deals {
  type: "deals";
  alphas: Float64Array;
  heterogeneities: Float64Array;
  counts: Uint32Array;
}

/** An edge or a node added or removed; for an edge from a to b, for a node its number a or its place x, y. */
export interface Edit {
  type: "edit";
  version: number;
  what: string;
  a: number;
  b: number;
  x: number;
  y: number;
}

/** A node was dragged. */
export interface Moved {
  type: "moved";
  version: number;
  node: number;
  x: number;
  y: number;
}

/** Another layout is wanted. */
export interface Arrange {
  type: "arrange";
  layout: string;
}

/** The nodes shall be coloured by something else. */
export interface Colour {
  type: "colour";
  what: string;
}

/** Something is to be done with the engines: start, stop, restart; interrupt a rank, open or freeze it (−1: all, none). */
export interface Do {
  type: "do";
  what: string;
  rank: number;
}

/** Controls were turned: the positions of all, and a number that the picture for them has too. */
export interface Turned {
  type: "turned";
  at: number[];
  turn: number;
}

/** A button of the bench, or of a race, was pressed. */
export interface Press {
  type: "press";
  what: string;
}

/** Something was set. */
export interface Choose {
  type: "choose";
  what: string;
  value: string;
}

/** The trace is wanted as a file. */
export interface Fetch {
  type: "fetch";
}

/** The samples shall be dealt otherwise. */
export interface Deal {
  type: "deal";
  rule: string;
  alpha: number;
  shards: number;
  n: number;
  seed: number;
  equal: boolean;
  turn: number;
}

/** Whether somebody looks at the widget, and has the pointer or the keyboard on it. */
export interface Watched {
  type: "watched";
  views: number;
  held: boolean;
  page: string;
}

export type ToThePage = Graph | Blocks | Values | Places | Curves | Rows | Tiles | Words | Knobs | Picture | Choices | Bench | Race | Trace | File | Bars | Deals;

export type FromThePage = Edit | Moved | Arrange | Colour | Do | Turned | Press | Choose | Fetch | Deal | Watched;

/** The arrays of each message, in the order of its buffers. */
export const ARRAYS = {
  graph: { positions: Float32Array, lines: Uint32Array, ends: Uint32Array, lit: Uint32Array, weights: Float32Array, own: Float32Array, machine: Uint32Array, eigenvalues: Float32Array },
  blocks: { shades: Float32Array },
  values: { values: Float32Array, lit: Uint32Array, weights: Float32Array, own: Float32Array },
  places: { positions: Float32Array },
  curves: {  },
  rows: { rows: Float64Array },
  tiles: {  },
  words: {  },
  knobs: {  },
  picture: {  },
  choices: {  },
  bench: {  },
  race: {  },
  trace: { begin: Float64Array, length: Float32Array, what: Uint32Array, lent: Float64Array, found: Float64Array, ends: Uint32Array, sizes: Float32Array },
  file: {  },
  bars: { counts: Uint32Array },
  deals: { alphas: Float64Array, heterogeneities: Float64Array, counts: Uint32Array },
} as const;
