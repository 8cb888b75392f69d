// Numbers, times and names as the page writes them.

const WHOLE = new Intl.NumberFormat("en");
const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hour12: false });
const SECONDS = new Intl.DateTimeFormat([], {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
});

/** The states of a session, in the order of the page. */
export const STATES = ["shown", "pending", "unsure", "clearing"];
export const MEANS = {
  shown: "Graph has taken it",
  pending: "held, and not shown yet",
  unsure: "held, and nobody knows whether it is shown",
  clearing: "held by nobody any more, and not known to be gone",
};

/** What becomes of a session, from what is well to what needs somebody. */
export const KINDS = [
  "cleared", "already_gone", "gone_after_retry", "never_set", "lapsed", "superseded",
  "unfinished", "failed",
];

export const whole = (number) => WHOLE.format(number);
export const clock = (date) => CLOCK.format(date);
export const exactly = (date) => SECONDS.format(date);
export const words = (kind) => kind.replaceAll("_", " ");
export const many = (number, word) => `${whole(number)} ${word}${number === 1 ? "" : "s"}`;

/** A number for the top of an axis: 950, 1.2k, 3M. */
export function brief(number) {
  if (number >= 1e6) return `${+(number / 1e6).toFixed(1)}M`;
  if (number >= 1e3) return `${+(number / 1e3).toFixed(1)}k`;
  return `${number}`;
}

/** A duration: 0.4 s, 12 s, 2 min 05 s, 3 h 20 min. */
export function lasting(seconds) {
  if (seconds < 1) return `${Math.max(0, seconds).toFixed(1)} s`;
  const all = Math.round(seconds);
  if (all < 60) return `${all} s`;
  if (all < 3600) return `${Math.floor(all / 60)} min ${`${all % 60}`.padStart(2, "0")} s`;
  return `${Math.floor(all / 3600)} h ${`${Math.floor((all % 3600) / 60)}`.padStart(2, "0")} min`;
}

/** What is left of a time, as a clock has it: 4:05, 1:00:00. */
export function countdown(seconds) {
  const all = Math.round(seconds);
  const two = (number) => `${number}`.padStart(2, "0");
  const [hours, minutes] = [Math.floor(all / 3600), Math.floor((all % 3600) / 60)];
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(all % 60)}`;
}

/** An id so short that a row has room for it: its beginning and its end. */
export const short = (id) => (id.length > 16 ? `${id.slice(0, 8)}…${id.slice(-4)}` : id);

/** The state of a session, as the API's parameter of that name means it. */
export function stateOf(session) {
  if (session.holds.length === 0) return "clearing";
  return session.known === "absent" ? "pending" : session.known;
}
