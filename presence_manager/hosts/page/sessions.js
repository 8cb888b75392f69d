// The sessions: pages of the API as one long table, of which only what is seen is there.

import { ask } from "./api.js";
import { byId, el, keep, mark, say, tell } from "./dom.js";
import { countdown, MEANS, stateOf, whole } from "./words.js";

const HEIGHT = 30; // pixels of a row, as in the style sheet
const PAGE = 200; // rows of a page
const AROUND = 12; // rows beyond what is seen
const KEPT = 3; // pages kept before and after the one that is seen
const PAUSE = 200; // milliseconds without a key, before a search
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The table; `onClear` is given a session that is to be cleared, `onFilter` hears of filters. */
export class Sessions {
  constructor(onClear, onFilter) {
    this.onClear = onClear;
    this.onFilter = onFilter;
    this.filter = { tenant: "", state: "", search: "" };
    this.scroller = byId("rows");
    this.body = byId("session-table").tBodies[0];
    this.above = el("tr", { class: "space", "aria-hidden": "true" }, el("td", { colspan: "7" }));
    this.below = this.above.cloneNode(true);
    this.kept = new Map();
    this.total = null;
    this.scroller.addEventListener("scroll", () => this.soon(), { passive: true });
    new ResizeObserver(() => this.soon()).observe(this.scroller);
    const input = byId("search");
    input.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.set({ search: input.value.trim() }), PAUSE);
    });
    this.begin();
  }

  /** Change what is shown, and begin at the top. */
  set(change) {
    const before = JSON.stringify(this.filter);
    Object.assign(this.filter, change);
    if (JSON.stringify(this.filter) === before) return;
    this.onFilter(this.filter);
    this.begin();
    this.refresh().then(() => this.sayFound(), () => {}); // the next round tells of trouble
  }

  begin() {
    this.control?.abort();
    this.control = new AbortController();
    const query = new URLSearchParams({ limit: PAGE });
    for (const [name, value] of Object.entries(this.filter)) if (value) query.set(name, value);
    this.pages = [{ link: `/v1/sessions?${query}`, rows: null }];
    this.loading = new Map();
    this.scroller.scrollTop = 0;
  }

  /** Ask again for the pages that are seen. */
  async refresh() {
    const [first, last] = this.seen();
    const pages = this.pages;
    const from = Math.floor(first / PAGE);
    const to = Math.min(Math.floor(last / PAGE), pages.length - 1);
    for (let n = from; n <= to && pages === this.pages; n += 1) await this.load(n);
    this.draw();
  }

  async load(n) {
    const { pages } = this;
    const page = pages[n];
    if (page === undefined) return;
    if (!this.loading.has(n)) {
      const asked = ask(page.link, { signal: this.control.signal });
      this.loading.set(n, asked);
    }
    let found;
    try {
      found = await this.loading.get(n);
    } catch (error) {
      if (error.name === "AbortError") return;
      throw error;
    } finally {
      if (pages === this.pages) this.loading.delete(n);
    }
    if (pages !== this.pages) return; // another filter meanwhile
    page.rows = found.sessions;
    if (found.next === null) pages.length = n + 1;
    else if (pages[n + 1] === undefined) pages.push({ link: found.next, rows: null });
    else pages[n + 1].link = found.next;
  }

  /** The first row that is seen, and the one after the last. */
  seen() {
    const { scrollTop, clientHeight } = this.scroller;
    return [Math.floor(scrollTop / HEIGHT), Math.ceil((scrollTop + clientHeight) / HEIGHT)];
  }

  soon() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
      this.fetchSeen();
    });
  }

  fetchSeen() {
    const [first, last] = this.seen();
    const from = Math.max(0, Math.floor((first - AROUND) / PAGE));
    const to = Math.min(Math.floor((last + PAGE / 2) / PAGE), this.pages.length - 1);
    for (let n = from; n <= to; n += 1) {
      if (this.pages[n].rows === null && !this.loading.has(n)) {
        this.load(n).then(() => this.soon(), () => {}); // the next round tells of trouble
      }
    }
    this.pages.forEach((page, n) => {
      if (n < from - KEPT || n > to + KEPT) page.rows = null; // never all of them
    });
  }

  get count() {
    const last = this.pages.at(-1);
    return (this.pages.length - 1) * PAGE + (last.rows === null ? (this.pages.length > 1 ? PAGE : 0) : last.rows.length);
  }

  draw() {
    const [first, last] = this.seen();
    const from = Math.max(0, first - AROUND);
    const to = Math.min(this.count, last + AROUND);
    const rows = new Map();
    for (let n = from; n < to; n += 1) {
      const row = this.pages[Math.floor(n / PAGE)].rows?.[n % PAGE];
      const key = row === undefined ? `${n}` : `${row.tenant} ${row.user}`;
      if (!rows.has(key)) rows.set(key, [n, row]);
    }
    const focused = this.body.contains(document.activeElement);
    if (this.above.parentNode === null) this.body.append(this.above, this.below);
    keep(this.body, this.kept, [...rows.keys()], (key) => this.make(rows.get(key)[1]), this.below);
    if (focused && !this.body.contains(document.activeElement)) {
      this.scroller.focus({ preventScroll: true });
    }
    for (const [key, line] of this.kept) fill(line, ...rows.get(key));
    this.above.firstChild.style.height = `${from * HEIGHT}px`;
    this.below.firstChild.style.height = `${Math.max(0, this.count - to) * HEIGHT}px`;
    this.above.hidden = from === 0;
    this.sayPlace(first, Math.min(last, this.count));
  }

  sayPlace(first, last) {
    const loaded = this.pages[0].rows !== null;
    const none = loaded && this.count === 0;
    const all = this.pages.at(-1).rows !== null ? this.count : this.filter.search ? null : this.total;
    mark(byId("session-table"), "aria-rowcount", `${all === null ? -1 : all + 1}`);
    byId("session-table").hidden = none;
    const place = byId("place");
    if (!loaded) say(place, "Asking …");
    else if (none) say(place, "");
    else say(place, `${whole(first + 1)}–${whole(last)} of ${all === null ? "many" : whole(all)}`);
    const box = byId("sessions-none");
    box.hidden = !none;
    const why = JSON.stringify(this.filter);
    if (none && box.dataset.why !== why) {
      box.dataset.why = why;
      box.replaceChildren(...this.nothing());
    }
    if (!none) delete box.dataset.why;
  }

  nothing() {
    const { tenant, state, search } = this.filter;
    if (!tenant && !state && !search) {
      return [el("p", { text: "Nobody is held. Sessions appear here as soon as a bot puts a hold, "
        + "for example with PUT /v1/tenants/default/users/USER/holds/NAME." })];
    }
    const told = [el("p", { text: search ? `No session is found for “${search}”. A user is found by `
      + "the beginning of the object id, a hold by a part of its name." : "No session is so now." })];
    if (ID.test(search)) {
      const button = el("button", { type: "button", text: "Clear this user all the same …" });
      button.addEventListener("click", () => this.onClear({ user: search, tenant: tenant || "default", holds: [] }));
      told.push(button);
    }
    return told;
  }

  sayFound() {
    const more = this.pages.length > 1 ? "more than " : "";
    tell(`${more}${whole(more ? PAGE : this.count)} sessions found`);
  }

  make(row) {
    if (row === undefined) {
      return el("tr", { class: "blank" }, el("td", { colspan: "7", text: "…" }));
    }
    const button = el("button", { type: "button", class: "small", text: "Clear …", "aria-label": `Clear user ${row.user} …` });
    const line = el("tr", {}, el("th", { scope: "row", class: "id", text: row.user }),
      el("td", { class: "id quiet", text: `${row.tenant.slice(0, 8)}…`, title: row.tenant }), el("td"),
      el("td", { class: "word" }), el("td", { class: "num" }), el("td", { class: "holds" }), el("td", {}, button));
    button.addEventListener("click", () => this.onClear(line.session));
    return line;
  }
}

function fill(line, n, row) {
  mark(line, "aria-rowindex", `${n + 2}`);
  line.classList.toggle("even", n % 2 === 1);
  if (row === undefined) return;
  line.session = row;
  const [, , pair, state, due, holds] = line.cells;
  const wanted = row.availability ? row : row.holds.at(-1) || row;
  say(pair, wanted.activity || "set by others");
  mark(pair, "title", wanted.availability ? `${wanted.availability}/${wanted.activity}` : "tracked: other code of the application has set it");
  const word = stateOf(row);
  say(state, word);
  mark(state, "data-state", word);
  mark(state, "title", MEANS[word]);
  const wait = (Date.parse(row.renew_at ?? "") - Date.now()) / 1000;
  say(due, Number.isNaN(wait) || word !== "shown" ? "–" : wait < 0 ? "due" : countdown(wait));
  const names = row.holds.map((hold) => (hold.key.startsWith("~") ? "unnamed" : hold.key));
  say(holds, names.length > 1 ? `${names[0]} +${names.length - 1}` : names[0] || "–");
  mark(holds, "title", names.join("\n"));
}
