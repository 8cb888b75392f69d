// The daemon's HTTP API: one request at a time, and the events of a sweep.

const KEY = "presence-manager.token";
const PATIENCE = 10_000;

/** The daemon did not answer at all. */
export class NoAnswer extends Error {}

/** The daemon said no; `status`, and the words it had for it. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ? `${problem.title}: ${problem.detail}` : `The daemon answered ${status}`);
    this.status = status;
    this.type = problem.type || "";
  }
}

/** The token of this tab. */
export const token = {
  get: () => sessionStorage.getItem(KEY) || "",
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

function headers(more = {}) {
  const secret = token.get();
  return secret ? { ...more, Authorization: `Bearer ${secret}` } : more;
}

async function send(path, options, signal) {
  try {
    return await fetch(path, { ...options, signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new NoAnswer("The daemon does not answer");
  }
}

async function checked(response) {
  if (response.ok) return response;
  throw new Refused(response.status, await response.json().catch(() => ({})));
}

/** Ask for JSON. Raises NoAnswer, Refused; AbortError when `signal` says so. */
export async function ask(path, { method = "GET", body, signal, patience = PATIENCE } = {}) {
  const late = AbortSignal.timeout(patience);
  const options = { method, headers: headers() };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  try {
    const either = signal ? AbortSignal.any([signal, late]) : late;
    return await (await checked(await send(path, options, either))).json();
  } catch (error) {
    if (error instanceof Refused || signal?.aborted) throw error;
    throw new NoAnswer("The daemon does not answer");
  }
}

/** The server-sent events of a path, each as [name, data], until there are no more. */
export async function* events(path, signal) {
  const response = await checked(
    await send(path, { headers: headers({ Accept: "text/event-stream" }) }, signal),
  );
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const name = /^event: (.*)$/m.exec(block);
      const data = /^data: (.*)$/m.exec(block);
      if (name && data) yield [name[1], JSON.parse(data[1])];
    }
  }
}
