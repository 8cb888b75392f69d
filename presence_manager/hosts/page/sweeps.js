// Sweeps: as they run, by server-sent events, and how the last ones went.

import { events } from "./api.js";
import { byId, el, keep, mark, say, tell } from "./dom.js";
import { KINDS, lasting, many, short, whole, words } from "./words.js";

const SHOWN = 6;
const OVER = 4000; // milliseconds over which the rate is taken
const TICK = 500; // milliseconds: time goes on though nothing is done

/** The sweeps that the daemon remembers. */
export class Sweeps {
  constructor() {
    this.list = byId("sweep-list");
    this.cards = new Map();
    this.known = new Map();
    this.watched = new Map();
    setInterval(() => {
      for (const [id, sweep] of this.known) if (sweep.state === "running") this.draw(id);
    }, TICK);
    this.none = el("p", { class: "none", text: "No sweep yet. One that is begun here, or by POST /v1/sweeps, is seen here as it runs." });
  }

  /** Show what the API says. */
  show(sweeps) {
    for (const sweep of sweeps) {
      const last = this.known.get(sweep.id);
      if (last?.state === "running" && sweep.state !== "running") this.ended(sweep);
      if (last === undefined && sweep.state === "running") tell("A sweep has begun");
      if (sweep.state === "running") this.watch(sweep);
      this.know(sweep);
    }
    const running = sweeps.filter((sweep) => sweep.state === "running");
    const over = sweeps.filter((sweep) => sweep.state !== "running");
    const shown = [...running, ...over.slice(0, Math.max(0, SHOWN - running.length))];
    const ids = new Set(sweeps.map((sweep) => sweep.id));
    for (const id of this.known.keys()) if (!ids.has(id)) this.known.delete(id);
    keep(this.list, this.cards, shown.map((sweep) => sweep.id), card);
    for (const sweep of shown) this.draw(sweep.id);
    if (shown.length) this.none.remove();
    else this.list.append(this.none);
  }

  /** Follow a sweep by its events, once. When they break off, the next look begins anew. */
  async watch(sweep) {
    if (this.watched.has(sweep.id)) return;
    const control = new AbortController();
    this.watched.set(sweep.id, control);
    try {
      for await (const [name, progress] of events(`/v1/sweeps/${sweep.id}/events`, control.signal)) {
        if (name !== "progress") break;
        this.know({ ...(this.known.get(sweep.id) || sweep), progress });
        this.draw(sweep.id);
      }
    } catch {
      // the daemon is gone, or this tab was hidden: show() finds out
    } finally {
      this.watched.delete(sweep.id);
    }
  }

  /** Take note of a sweep, and of when it was so far; the events are ahead of what was asked for. */
  know(sweep) {
    const last = this.known.get(sweep.id);
    const { progress } = sweep;
    const ahead = last?.progress && (!progress || last.progress.seconds >= progress.seconds);
    const now = performance.now();
    const begun = last?.begun ?? now - 1000 * (progress?.seconds ?? 0);
    const past = last?.past ?? [[begun, 0]];
    if (progress && !ahead) past.push([now, progress.done]);
    this.known.set(sweep.id, { ...sweep, progress: ahead ? last.progress : progress, begun, past });
  }

  /** Listen no more, for nobody looks. */
  rest() {
    for (const control of this.watched.values()) control.abort();
  }

  ended(sweep) {
    const { report } = sweep;
    tell(report === null ? "The sweep failed" : `The sweep has ended: ${counted(report.counts)}`);
  }

  draw(id) {
    const line = this.cards.get(id);
    if (line !== undefined) fill(line, this.known.get(id));
  }
}

/** How far it is at this moment: sessions left, how many a second, and seconds to the deadline. */
function pace({ progress, deadline, begun, past }) {
  const now = performance.now();
  while (past.length > 1 && past[1][0] < now - OVER) past.shift();
  const [from, done] = past[0];
  const rate = (past.at(-1)[1] - done) / Math.max(0.001, (now - from) / 1000);
  const left = progress ? progress.taken - progress.done : 0;
  const time = deadline === null ? Infinity : Math.max(0, deadline - (now - begun) / 1000);
  return { left, rate, time, late: left > rate * time };
}

function card(id) {
  const bar = el("div", { class: "progress", role: "progressbar", "aria-label": `Sweep ${id}`,
    "aria-valuemin": "0" });
  return el("article", { class: "sweep" },
    el("h3", {}, el("span", { class: "word" }), " ", el("span", { class: "id quiet", title: id, text: id.slice(0, 8) })),
    el("p", { class: "figures" }), bar, el("p", { class: "quiet detail" }), el("ul", { class: "problems" }));
}

function fill(line, sweep) {
  const [title, figures, bar, detail, problems] = line.children;
  const running = sweep.state === "running";
  const counts = sweep.report?.counts ?? sweep.progress?.counts ?? {};
  const done = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const taken = Math.max(sweep.progress?.taken ?? done, done);
  const well = sweep.report === null ? running : sweep.report.ok;
  mark(line, "data-state", running ? "running" : well ? "well" : "unwell");
  say(title.firstChild, running ? "Running" : sweep.report === null ? "Failed"
    : well ? "All gone" : "Not all are gone");
  bars(bar, counts, taken);
  bar.hidden = !taken;
  mark(bar, "aria-valuemax", `${taken}`);
  mark(bar, "aria-valuenow", `${done}`);
  mark(bar, "aria-valuetext", `${whole(done)} of ${whole(taken)}`);
  const now = running ? pace(sweep) : null;
  say(figures, running ? going(sweep, now) : ran(sweep, done));
  say(detail, running ? ahead(now) : sweep.problem?.detail || counted(counts));
  mark(detail, "data-warn", now?.late ? "yes" : "no");
  const told = (sweep.report?.problems ?? []).slice(0, 3).map((each) =>
    `${short(each.user)}: ${words(each.kind)}${each.code ? `, ${each.code}` : ""}${
      each.message || each.reason ? `: ${each.message || each.reason}` : ""}`);
  if (problems.childElementCount !== told.length) {
    problems.replaceChildren(...told.map((text) => el("li", { text })));
  }
}

function bars(bar, counts, taken) {
  const kinds = KINDS.filter((kind) => counts[kind]);
  if (bar.childElementCount !== kinds.length) {
    bar.replaceChildren(...kinds.map(() => el("i")));
  }
  kinds.forEach((kind, n) => {
    mark(bar.children[n], "data-kind", kind);
    bar.children[n].style.width = `${(100 * counts[kind]) / taken}%`;
  });
}

function counted(counts) {
  const kinds = KINDS.filter((kind) => counts[kind]);
  return kinds.map((kind) => `${whole(counts[kind])} ${words(kind)}`).join(", ") || "nobody was held";
}

function going({ progress }, { rate, time }) {
  if (progress === null) return "Begins …";
  const told = [`${whole(progress.done)} of ${whole(progress.taken)}${progress.all_taken ? "" : " and more"}`,
    `${whole(Math.round(rate))} a second`];
  if (time < Infinity) told.push(time ? `deadline in ${lasting(time)}` : "deadline");
  return told.join(" · ");
}

function ahead({ left, rate, time, late }) {
  if (!left) return "";
  if (!late) return rate ? `${whole(left)} left, about ${lasting(left / rate)}` : `${whole(left)} left`;
  return `${whole(left)} left; at this rate ${whole(Math.ceil(left - rate * time))} stay unfinished at the deadline`;
}

function ran({ report, progress }, done) {
  const seconds = report?.seconds || progress?.seconds || 0;
  const refused = report?.refused ? ` · ${many(report.refused, "request")} refused` : "";
  return `${many(done, "session")}${seconds ? ` in ${lasting(seconds)}` : ""}${refused}`;
}
