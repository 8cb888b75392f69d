// The page: asks every two seconds, while somebody looks, and shows what it is told.

import { ask, NoAnswer, Refused, token } from "./api.js";
import { Chart } from "./chart.js";
import { clearDialog, sweepDialog, tokenDialog } from "./dialogs.js";
import { byId, el, mark, say, tell } from "./dom.js";
import { Sessions } from "./sessions.js";
import { Sweeps } from "./sweeps.js";
import { Tenants } from "./tenants.js";
import { exactly, lasting, many, MEANS, short, STATES, whole } from "./words.js";

const EVERY = 2000;
const SAYS = { open: "Takes holds", draining: "Draining: takes no more holds", closing: "Closing: clears what it holds" };

const seen = { tenants: [], counts: [], answered: null };
let wake = () => {};
const now = () => wake();

const askClear = clearDialog(now);
const askSweep = sweepDialog(() => seen, now);
const askToken = tokenDialog(now);
const chart = new Chart();
const sweeps = new Sweeps();
const sessions = new Sessions(askClear, showFilter);
const tenants = new Tenants((tenant) => {
  sessions.set({ tenant });
  byId("sessions").focus();
});

const tiles = new Map(STATES.map((state) => {
  const number = el("b", { text: "–" });
  const tile = el("button", { type: "button", class: "tile", "data-state": state, "aria-pressed": "false",
    title: MEANS[state] }, el("span", { class: "dot" }), el("span", { text: state }), number);
  tile.addEventListener("click", () =>
    sessions.set({ state: sessions.filter.state === state ? "" : state }));
  byId("states").append(tile);
  byId("share").append(el("i", { "data-state": state }));
  return [state, { tile, number }];
}));

function showFilter({ tenant, state }) {
  for (const [name, { tile }] of tiles) mark(tile, "aria-pressed", `${name === state}`);
  const chip = (text, label, change) => {
    const button = el("button", { type: "button", class: "chip", "aria-label": `${label}: show all again` },
      el("span", { class: "id", text }), " ×");
    button.addEventListener("click", () => {
      sessions.set(change);
      byId("search").focus();
    });
    return button;
  };
  byId("chips").replaceChildren(
    ...(tenant ? [chip(short(tenant), `Tenant ${tenant}`, { tenant: "" })] : []),
    ...(state ? [chip(state, `Only ${state}`, { state: "" })] : []));
  count();
}

/** Add up what is held. */
function count() {
  const { tenant, state } = sessions.filter;
  const sums = Object.fromEntries(STATES.map((each) => [each, 0]));
  let [total, due, looked] = [0, 0, 0];
  for (const each of seen.counts) {
    sums[each.state] += each.sessions;
    total += each.sessions;
    due += each.due;
    if ((!tenant || each.tenant === tenant) && (!state || each.state === state)) looked += each.sessions;
  }
  sessions.total = looked;
  say(byId("total"), whole(total));
  say(byId("total-of"), `${total === 1 ? "session" : "sessions"} in ${many(seen.tenants.length, "tenant")}`);
  STATES.forEach((each, n) => {
    say(tiles.get(each).number, whole(sums[each]));
    byId("share").children[n].style.flexGrow = `${sums[each]}`;
  });
  const sum = (name) => seen.tenants.reduce((all, each) => all + each[name], 0);
  facts({
    "Due within a minute": whole(due),
    "Waiting for Graph": whole(sum("waiting")),
    "In flight": whole(sum("in_flight")),
    "Latest overdue by": lasting(Math.max(0, ...seen.tenants.map((each) => each.late))),
    "Requests sent": whole(sum("sent")),
    "Refused": whole(sum("refused")),
  });
}

function facts(told) {
  const list = byId("facts");
  if (!list.childElementCount) {
    list.append(...Object.keys(told).map((name) => el("div", {}, el("dt", { text: name }), el("dd"))));
  }
  Object.values(told).forEach((text, n) => say(list.children[n].lastChild, text));
}

function showStatus({ state, faults, version }) {
  const well = state === "open" && faults.length === 0;
  mark(byId("state"), "data-state", well ? "well" : state === "open" ? "unwell" : "ending");
  const why = state === "open" ? faults : faults.filter((each) => !each.startsWith("it is being"));
  const text = [state === "open" && faults.length ? "Not ready" : SAYS[state], ...why].join(": ");
  if (byId("state-text").textContent !== text) tell(text);
  say(byId("state-text"), text);
  byId("state").title = `presence-manager ${version}`;
  byId("forget").hidden = !token.get();
}

function trouble(text) {
  byId("trouble").hidden = !text;
  say(byId("trouble"), text);
  byId("main").classList.toggle("stale", Boolean(text));
}

/** Ask for everything once. */
async function look() {
  const status = await ask("/v1/status");
  showStatus(status);
  if (status.tokens && !token.get()) return void askToken();
  const [found, counted, running] = await Promise.all([
    ask("/v1/tenants"), ask("/v1/sessions/counts"), ask("/v1/sweeps"),
    sessions.refresh(), chart.refresh(),
  ]);
  seen.tenants = found.tenants;
  seen.counts = counted.counts;
  seen.answered = new Date();
  count();
  tenants.show(found.tenants, counted.counts);
  sweeps.show(running.sweeps);
  sessions.draw();
  askSweep.count();
  say(byId("fresh"), `as of ${exactly(seen.answered)}`);
}

async function round() {
  try {
    await look();
    trouble("");
  } catch (error) {
    if (error instanceof NoAnswer) {
      mark(byId("state"), "data-state", "gone");
      say(byId("state-text"), "Does not answer");
      const since = seen.answered ? ` What is shown is of ${exactly(seen.answered)}.` : "";
      trouble(`The daemon does not answer: it has ended, or cannot be reached.${since} Trying again.`);
    } else if (error instanceof Refused && error.status === 401) {
      token.forget();
      trouble("");
      askToken("This daemon does not know that token.");
    } else if (error instanceof Refused) {
      trouble(error.message);
    } else {
      throw error;
    }
  }
}

/** Until the next round: two seconds, or less when something was done; as long as nobody looks. */
function pause() {
  return new Promise((resolve) => {
    let timer = document.hidden ? 0 : setTimeout(resolve, EVERY);
    wake = () => {
      clearTimeout(timer);
      timer = 0;
      resolve();
    };
  });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) sweeps.rest();
  else now();
});
document.addEventListener("keydown", (event) => {
  const writing = event.target.closest("input, select, textarea, dialog");
  if (event.key === "/" && !writing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    byId("search").focus();
  }
});
byId("sweep").addEventListener("click", askSweep.open);
byId("forget").addEventListener("click", () => {
  token.forget();
  location.reload();
});

for (;;) {
  await round();
  await pause();
  while (document.hidden) await pause();
}
