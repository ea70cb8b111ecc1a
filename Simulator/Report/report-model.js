// The data as columns, and what is so at a moment.
const numbers = text => text === "" ? [] : text.split(",").map(part => part === "" ? NaN : +part);
const $ = id => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter(child => child !== undefined && child !== null));
  return element;
};

/** `4m32.25s`; `digits` after the point. */
function timeText(seconds, digits = 2) {
  const sign = seconds < 0 ? "−" : "";
  const whole = Math.abs(seconds);
  const unit = 10 ** digits;
  const rounded = Math.round(whole * unit) / unit;
  const h = Math.floor(rounded / 3600), m = Math.floor(rounded % 3600 / 60);
  const s = (rounded % 60).toFixed(digits).replace(/\.?0+$/, "");
  return sign + (h ? h + "h" : "") + (h || m ? m + "m" : "") + (s !== "0" || !(h || m) ? s + "s" : "");
}
const short = value => !isFinite(value) ? "–"
  : Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : +value.toFixed(value < 1 ? 2 : 1) + "";

const times = numbers(D.times);
const series = Object.fromEntries(Object.entries(D.series).map(([name, text]) => [name, numbers(text)]));
const hostNames = [...D.otherHosts, ...D.nodes.map(node => node.name), ...D.laterHosts];
const firstNode = D.otherHosts.length;
const nodeNamed = new Map(D.nodes.map((node, index) => [node.name, index]));

const nodeStates = ["off", "joining", "awaiting approval", "reaches all its peers", "reaches some", "reaches none", "refused"];
const nodeColors = ["--off", "--join", "--accent", "--okfill", "--partfill", "--badfill", "--cut"];
const pathStates = ["not a peer", "no session", "session, but no echo", "up"];

// Changes, by node and by path: [sample, state, sample, state, …]
const changesOfNode = D.nodes.map(() => []);
{
  const flat = numbers(D.nodeChanges);
  for (let i = 0; i < flat.length; i += 3) changesOfNode[flat[i + 1]].push(flat[i], flat[i + 2]);
}
const paths = new Map();
{
  const flat = numbers(D.pathChanges);
  for (let i = 0; i < flat.length; i += 4) {
    const key = flat[i + 1] * D.nodes.length + flat[i + 2];
    if (!paths.has(key)) paths.set(key, { from: flat[i + 1], to: flat[i + 2], changes: [] });
    paths.get(key).changes.push(flat[i], flat[i + 3]);
  }
}
/** The state of a list of changes at a sample. */
function stateAt(changes, sample) {
  let lower = 0, upper = changes.length / 2;
  while (lower < upper) {
    const middle = lower + upper >> 1;
    if (changes[middle * 2] <= sample) lower = middle + 1; else upper = middle;
  }
  return lower ? changes[lower * 2 - 1] : 0;
}
/** The last index whose value is at most `value`; 0 when there is none. */
function lastAtMost(values, value) {
  let lower = 0, upper = values.length;
  while (lower < upper) {
    const middle = lower + upper >> 1;
    if (values[middle] <= value) lower = middle + 1; else upper = middle;
  }
  return Math.max(0, lower - 1);
}
const cutsAt = time => D.cuts.filter(cut => cut.begin <= time && time < cut.end);

// Events: columns of numbers, texts apart.
const events = (() => {
  const E = D.events;
  const columns = {};
  for (const name of ["id", "time", "kind", "host", "peer", "cause", "text", "outcome"]) columns[name] = numbers(E[name]);
  for (let i = 1; i < columns.id.length; i++) columns.id[i] += columns.id[i - 1];
  if (columns.time.length) columns.time[0] = E.begin;
  for (let i = 1; i < columns.time.length; i++) columns.time[i] += columns.time[i - 1];
  return { ...columns, texts: E.texts, kinds: E.kinds, totals: E.totals, count: columns.id.length,
    position: new Map(columns.id.map((id, index) => [id, index])) };
})();

/** What a reader looks at; views draw themselves when it changes. */
const view = {
  from: 0, to: D.duration, moment: 0, node: -1, sample: 0, views: [], frame: 0, playing: false,
  set(changes) {
    Object.assign(this, changes);
    this.moment = Math.min(D.duration, Math.max(0, this.moment));
    this.sample = lastAtMost(times, this.moment + 1e-9);
    this.changed = { ...this.changed, ...changes };
    if (this.frame) return;
    const draw = () => {
      if (!this.frame) return;
      cancelAnimationFrame(this.frame);
      clearTimeout(this.timer);
      this.frame = 0;
      const changed = this.changed;
      this.changed = {};
      for (const each of this.views) each(changed);
    };
    this.frame = requestAnimationFrame(draw);
    // A page that nobody sees gets no frames.
    this.timer = setTimeout(draw, 80);
  },
  /** Shows `from` to `to`, at least a hundred milliseconds and no more than there is. */
  zoom(from, to) {
    const span = Math.min(D.duration, Math.max(.1, to - from));
    const begin = Math.min(D.duration - span, Math.max(0, from));
    this.set({ from: begin, to: begin + span });
  },
  /** Goes to a moment, and brings it into sight. */
  go(moment) {
    const span = this.to - this.from;
    this.set({ moment });
    if (this.moment < this.from || this.moment > this.to) this.zoom(this.moment - span / 2, this.moment + span / 2);
  },
};
