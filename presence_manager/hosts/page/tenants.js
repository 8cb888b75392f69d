// Each tenant: what is held in it, its budget and its gate.

import { byId, el, keep, mark, say } from "./dom.js";
import { brief, lasting, many, short, STATES, whole } from "./words.js";

const MOST = 200; // rows; the order decides which

/** Columns: heading, what a row is sorted by, and whether that is a number. */
const COLUMNS = [
  ["Tenant", (row) => row.tenant, false],
  ["Shown", (row) => row.shown, true],
  ["Pending", (row) => row.pending, true],
  ["Unsure", (row) => row.unsure, true],
  ["Clearing", (row) => row.clearing, true],
  ["Refused", (row) => row.refused, true],
  ["Budget", (row) => (row.budget ? row.used / row.budget : 0), true],
  ["Gate", (row) => row.closed_for, true],
];

/** The table; `onTenant` is told which tenant's sessions are to be shown. */
export class Tenants {
  constructor(onTenant) {
    this.onTenant = onTenant;
    this.sorted = { column: null, down: true };
    this.rows = [];
    this.kept = new Map();
    this.body = byId("tenants").tBodies[0];
    this.heads = COLUMNS.map(([name, , number], column) => {
      const button = el("button", { type: "button", class: "sort", text: name });
      button.addEventListener("click", () => this.sort(column));
      const head = el("th", { scope: "col", class: number ? "num" : "" }, button);
      byId("tenants").tHead.rows[0].append(head);
      return head;
    });
  }

  sort(column) {
    const again = this.sorted.column === column;
    this.sorted = { column, down: again ? !this.sorted.down : COLUMNS[column][2] };
    this.draw();
  }

  /** Show what the API says: its tenants, and its counts of sessions. */
  show(tenants, counts) {
    const rows = new Map(tenants.map((each) => [each.tenant, { ...each }]));
    for (const { tenant, state, sessions } of counts) {
      const row = rows.get(tenant);
      if (row !== undefined) row[state] = (row[state] || 0) + sessions;
    }
    this.rows = [...rows.values()];
    for (const row of this.rows) {
      for (const state of STATES) row[state] = row[state] || 0;
      row.total = row.shown + row.pending + row.unsure + row.clearing;
    }
    this.draw();
  }

  draw() {
    const { column, down } = this.sorted;
    this.heads.forEach((head, n) =>
      mark(head, "aria-sort", n !== column ? "none" : down ? "descending" : "ascending"));
    const name = (one, two) => (one.tenant < two.tenant ? -1 : 1);
    this.rows.sort((one, two) => {
      if (column === null) { // who needs somebody first
        return (two.closed_for > 0) - (one.closed_for > 0) || two.total - one.total || name(one, two);
      }
      const by = COLUMNS[column][1];
      const order = by(one) < by(two) ? -1 : by(one) > by(two) ? 1 : 0;
      return (down ? -order : order) || name(one, two);
    });
    const seen = this.rows.slice(0, MOST);
    const find = new Map(seen.map((row) => [row.tenant, row]));
    keep(this.body, this.kept, seen.map((row) => row.tenant), (tenant) => this.make(tenant));
    for (const [tenant, line] of this.kept) fill(line, find.get(tenant));
    byId("tenants-none").hidden = this.rows.length > 0;
    byId("tenants").hidden = this.rows.length === 0;
    const shut = this.rows.filter((row) => row.closed_for > 0).length;
    const more = this.rows.length > MOST ? `; the first ${MOST} of this order` : "";
    say(byId("tenants-note"), this.rows.length ? `${whole(this.rows.length)}${shut
      ? `, ${many(shut, "gate")} closed` : ", all gates open"}${more}` : "");
  }

  make(tenant) {
    const button = el("button", { type: "button", class: "link id", title: tenant, text: short(tenant),
      "aria-label": `Show the sessions of tenant ${tenant}` });
    button.addEventListener("click", () => this.onTenant(tenant));
    const line = el("tr", {}, el("th", { scope: "row" }, button));
    for (let n = 0; n < 5; n += 1) line.append(el("td", { class: "num" }));
    const meter = el("span", { class: "meter", "aria-hidden": "true" }, el("i"));
    line.append(el("td", { class: "num budget" }, el("span"), meter), el("td", { class: "num gate" }));
    return line;
  }
}

function fill(line, row) {
  const [, ...cells] = line.cells;
  [...STATES, "refused"].forEach((name, n) => {
    say(cells[n], row[name] ? whole(row[name]) : "0");
    mark(cells[n], "data-zero", row[name] ? "no" : "yes");
  });
  mark(cells[2], "data-warn", row.unsure ? "yes" : "no");
  const [budget, gate] = cells.slice(5);
  const known = row.budget !== null;
  say(budget.firstChild, known ? `${whole(row.used)} / ${brief(row.budget)}` : "–");
  const part = known && row.budget ? Math.min(1, row.used / row.budget) : 0;
  budget.lastChild.firstChild.style.width = `${Math.round(part * 100)}%`;
  mark(budget.lastChild, "data-warn", part > 0.9 ? "yes" : "no");
  mark(budget, "title", known ? `${whole(row.used)} of ${whole(row.budget)} requests in ${
    lasting(row.window)}; ${whole(row.in_flight)} in flight` : "this daemon has sent nothing for it");
  say(gate, row.closed_for > 0 ? `closed ${lasting(row.closed_for)}` : known ? "open" : "–");
  mark(gate, "data-closed", row.closed_for > 0 ? "yes" : "no");
}
