// What is asked before anything is cleared, and the token.

import { ask, NoAnswer, token } from "./api.js";
import { byId, el, mark, say, tell } from "./dom.js";
import { many, whole, words } from "./words.js";

/** A dialog with a form; `act` does what the form is for, and its errors are shown there. */
function prepare(id, act) {
  const dialog = byId(id);
  const form = dialog.querySelector("form");
  const wrong = dialog.querySelector(".wrong");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const buttons = form.querySelectorAll("button");
    say(wrong, "");
    for (const button of buttons) button.disabled = true;
    mark(form, "aria-busy", "true");
    try {
      await act();
      dialog.close();
    } catch (error) {
      say(wrong, error instanceof NoAnswer ? "The daemon does not answer: nobody knows whether it "
        + "has heard. The page shows what it did as soon as it answers again." : error.message);
    } finally {
      mark(form, "aria-busy", "false");
      for (const button of buttons) button.disabled = false;
    }
  });
  form.querySelector("[value=cancel]")?.addEventListener("click", () => dialog.close());
  return (text = "") => {
    if (text || !dialog.open) say(wrong, text);
    if (!dialog.open) dialog.showModal();
  };
}

/** Asks before one user is cleared. */
export function clearDialog(done) {
  let session;
  const open = prepare("clear-dialog", async () => {
    const path = `/v1/tenants/${encodeURIComponent(session.tenant)}/users/${encodeURIComponent(session.user)}/clear`;
    const outcome = await ask(path, { method: "POST", patience: 120_000 });
    if (["failed", "unfinished"].includes(outcome.kind)) {
      const why = [outcome.code, outcome.message || outcome.reason].filter(Boolean).join(": ");
      done();
      throw new Error(`${words(outcome.kind)}${why ? `: ${why}` : ""}. The user may still be `
        + "shown; it stays in the ledger, and is tried again by the next recovery.");
    }
    tell(`User ${session.user}: ${words(outcome.kind)}`);
    done();
  });
  return (chosen) => {
    session = chosen;
    const names = session.holds.map((hold) => hold.key);
    const facts = { User: session.user, Tenant: session.tenant,
      Holds: names.length > 5 ? `${names.slice(0, 5).join(", ")} and ${names.length - 5} more` : names.join(", ") || "none" };
    byId("clear-text").replaceChildren(...Object.entries(facts).flatMap(([name, text]) =>
      [el("dt", { text: name }), el("dd", { class: "id", text })]));
    open();
  };
}

/** Asks before a sweep; `look` says what is held, and `count` looks again. */
export function sweepDialog(look, done) {
  const who = () => document.querySelector("#sweep-dialog [name=who]:checked").value;
  const tenant = byId("sweep-tenant");
  const count = () => {
    const { tenants, counts } = look();
    const ours = (each) => !tenant.value || each.tenant === tenant.value;
    const own = tenants.filter(ours).reduce((sum, each) => sum + each.held + each.waiting, 0);
    const all = counts.filter(ours).reduce((sum, each) => sum + each.sessions, 0);
    say(byId("own-count"), `(${whole(own)})`);
    say(byId("everyone-count"), `(${whole(all)})`);
    const everyone = who() === "everyone";
    const number = everyone ? all : own;
    say(byId("sweep-go"), `Clear ${many(number, "user")}`);
    say(byId("sweep-text"), `${everyone ? "All their holds end, in every process. " : ""}`
      + "What is not cleared when the deadline comes is written down, and goes on afterwards.");
  };
  const open = prepare("sweep-dialog", async () => {
    const body = { deadline: Number(byId("sweep-deadline").value), everyone: who() === "everyone" };
    if (tenant.value) body.tenant = tenant.value;
    await ask("/v1/sweeps", { method: "POST", body });
    done();
  });
  byId("sweep-dialog").addEventListener("change", count);
  const begin = () => {
    const names = look().tenants.map((each) => each.tenant);
    tenant.replaceChildren(el("option", { value: "", text: "all" }),
      ...names.map((name) => el("option", { value: name, text: name })));
    byId("sweep-dialog").querySelector("[value=own]").checked = true;
    count();
    open();
  };
  return { open: begin, count };
}

/** Asks for a token; it is kept in the tab's memory alone. */
export function tokenDialog(done) {
  const open = prepare("token-dialog", async () => {
    token.set(byId("token").value.trim());
    byId("token").value = "";
    done();
  });
  byId("token-dialog").addEventListener("cancel", (event) => event.preventDefault());
  return open;
}
