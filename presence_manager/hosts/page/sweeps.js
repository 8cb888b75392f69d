// Sweeps: as they run, by server-sent events, and how the last ones went.

import { events } from "./api.js";
import { byId, el, keep, mark, say, tell } from "./dom.js";
import { KINDS, lasting, many, short, whole, words } from "./words.js";

const SHOWN = 6;
const OVER = 4; // seconds over which the rate is taken

/** The sweeps that the daemon remembers. */
export class Sweeps {
  constructor() {
    this.list = byId("sweep-list");
    this.cards = new Map();
    this.known = new Map();
    this.watched = new Map();
    this.none = el("p", { class: "none", text: "No sweep yet. One that is begun here, or by POST /v1/sweeps, is seen here as it runs." });
  }

  /** Show what the API says. */
  show(sweeps) {
    for (const sweep of sweeps) {
      const last = this.known.get(sweep.id);
      if (last?.state === "running" && sweep.state !== "running") this.ended(sweep);
      if (last === undefined && sweep.state === "running") tell("A sweep has begun");
      if (sweep.state === "running") this.watch(sweep);
      // The events are ahead of what was asked for.
      const ahead = (last?.progress?.seconds ?? 0) > (sweep.progress?.seconds ?? 0);
      this.known.set(sweep.id, ahead ? { ...sweep, progress: last.progress } : sweep);
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
    const past = [];
    try {
      for await (const [name, data] of events(`/v1/sweeps/${sweep.id}/events`, control.signal)) {
        if (name !== "progress") break;
        past.push([data.seconds, data.done]);
        while (past.length > 2 && past[0][0] < data.seconds - OVER) past.shift();
        const [from, begin] = past[0];
        const rate = data.seconds > from ? (data.done - begin) / (data.seconds - from) : null;
        const now = this.known.get(sweep.id) || sweep;
        this.known.set(sweep.id, { ...now, progress: data, rate });
        this.draw(sweep.id);
      }
    } catch {
      // the daemon is gone, or this tab was hidden: show() finds out
    } finally {
      this.watched.delete(sweep.id);
    }
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
  say(figures, running ? going(sweep, done, taken) : ran(sweep, done));
  say(detail, running ? ahead(sweep, done, taken) : sweep.problem?.detail || counted(counts));
  mark(detail, "data-warn", running && late(sweep, done, taken) ? "yes" : "no");
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

function going({ progress, rate, deadline }, done, taken) {
  if (progress === null) return "Begins …";
  const told = [`${whole(done)} of ${whole(taken)}${progress.all_taken ? "" : " and more"}`];
  if (rate) told.push(`${whole(Math.round(rate))} a second`);
  if (deadline !== null) told.push(`deadline in ${lasting(deadline - progress.seconds)}`);
  return told.join(" · ");
}

function late({ progress, rate, deadline }, done, taken) {
  return Boolean(rate) && deadline !== null && (taken - done) / rate > deadline - progress.seconds;
}

function ahead(sweep, done, taken) {
  const { progress, rate, deadline } = sweep;
  const left = taken - done;
  if (progress === null || !left) return "";
  if (!rate) return `${whole(left)} left`;
  if (!late(sweep, done, taken)) return `${whole(left)} left, about ${lasting(left / rate)}`;
  const short = Math.ceil(left - rate * Math.max(0, deadline - progress.seconds));
  return `${whole(left)} left; at this rate ${whole(short)} of them stay unfinished at the deadline`;
}

function ran({ report, progress }, done) {
  const seconds = report?.seconds || progress?.seconds || 0;
  const refused = report?.refused ? ` · ${many(report.refused, "request")} refused` : "";
  return `${many(done, "session")}${seconds ? ` in ${lasting(seconds)}` : ""}${refused}`;
}
