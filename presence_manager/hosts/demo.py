"""`presence-manager demo`: the story of the product in half a minute, on this machine alone.

The emulator and the bot are processes of their own, and the bot is really killed. What the ledger
says in the end is held against what the emulator saw; if the two disagree, the demo fails.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from presence_manager.hosts.demo_stage import Child, Failed, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

TENANTS = ("7e4a0000-0000-4000-8000-000000000001", "7e4a0000-0000-4000-8000-000000000002")
PEOPLE = [(TENANTS[n % 2], f"05e40000-0000-4000-8000-{n:012d}") for n in range(300)]
VANISH_FIRST, VANISH_LATER, LOST = PEOPLE[:12], PEOPLE[20:29], PEOPLE[40:43]
LEASE, STEP, PASSES = 300, 5, 360
"""Seconds: how long Graph keeps a session, how far time is moved at once, and altogether."""
DEADLINE = 8
SETTINGS = {
    "PRESENCE_HOLD__LEASE": str(LEASE),
    "PRESENCE_HOLD__TIMEOUT": "600",
    # Two requests in flight, so that there is something to watch; and patience with moved clocks.
    "PRESENCE_GRAPH__IN_FLIGHT": "2",
    "PRESENCE_GRAPH__TIMEOUT": "120",
    "PRESENCE_GRAPH__CONNECT_TIMEOUT": "60",
}
GONE = {
    "cleared": "Graph took the session back (200)",
    "already_gone": "Graph had none any more (404)",
    "gone_after_retry": "gone; an earlier try may have done it",
}


def demo() -> int:
    """Play it; return 0 if the ledger and the emulator agree in the end."""
    screen = Console(highlight=False, soft_wrap=True)
    started = monotonic()
    with Stage() as stage:
        try:
            disagreements = _Story(stage, screen).tell()
        except Failed as error:
            screen.print(f"\n[bold red]The demo failed:[/] {error}.")
            if errors := stage.errors():
                screen.print(Text(errors, style="dim"))
            return 1
    for text in disagreements[:10]:
        screen.print(f"[bold red]They disagree:[/] {text}")
    if disagreements:
        return 1
    seconds = monotonic() - started
    screen.print(f"\n[bold green]They agree: nobody is left.[/] [dim]({seconds:.0f} s)[/]")
    screen.print(
        "[dim]Next: `presence-manager emulator` to develop against, `presence-manager --help`.[/]"
    )
    return 0


class _Story:
    """The acts, in order."""

    def __init__(self, stage: Stage, screen: Console) -> None:
        self._stage = stage
        self._screen = screen
        self._act = 0

    def tell(self) -> list[str]:
        """Play all acts; return in which points the ledger and the emulator disagree."""
        stage = self._stage
        self._screen.print(
            "[bold]presence-manager[/]: a bot shows people as in a call, crashes, comes back, and "
            "leaves nobody behind.\nNothing leaves this machine.\n"
        )
        with self._scene("Microsoft Graph, emulated"):
            stage.start_graph()
        self._say(f"{stage.url}, with TLS, a sign-in, and a process of its own")
        bot = self._hold_and_die()
        self._hold_and_renew(bot)
        return self._shut_down(bot)

    def _hold_and_die(self) -> Child:
        stage = self._stage
        with self._scene(f"The bot holds {len(PEOPLE)} users in {len(TENANTS)} tenants"):
            bot = stage.start_bot(**SETTINGS)
            self._hold(bot)
        self._say("signed in with msal (client secret); each hold in the ledger before its request")
        self._say(f"Graph shows [bold]{self._shown()}[/] people as Busy, in a call")
        with self._scene(f"On the server {len(VANISH_FIRST)} sessions vanish behind its back"):
            self._vanish(VANISH_FIRST)
        self._say(f"Graph shows [bold]{self._shown()}[/]; the bot cannot know")
        with self._scene(f"The bot is killed (SIGKILL, process {bot.pid})"):
            bot.kill()
        self._say(
            f"Graph still shows [bold]{self._shown()}[/] people as in a call, and nobody is there "
            "to end it"
        )
        with self._scene("It starts again, on the same ledger, and recovers"):
            bot = stage.start_bot()
            report = bot.ask("recover", event="recovered")
        self._say(f"in {report['seconds']:.1f} s: [bold]{_counts(report)}[/]")
        self._say(f"Graph shows [bold]{self._shown()}[/]")
        if self._shown():
            raise Failed("recovery has left sessions behind")
        return bot

    def _hold_and_renew(self, bot: Child) -> None:
        stage = self._stage
        with self._scene(f"It holds all {len(PEOPLE)} anew, and time passes"):
            self._hold(bot)
            before = len(stage.graph("GET", "journal"))
            for _ in range(PASSES // STEP):
                bot.ask("move", str(STEP), event="moved")
                self._let_it_renew(stage.graph("POST", "clock", {"move": STEP})["now"])
            lines = stage.graph("GET", f"journal?since={before}")
        renewals = sum(line["verb"] == "set" and line["status"] == 200 for line in lines)
        self._say(
            f"{PASSES // 60} minutes in a few seconds: the clocks of the bot and of Graph were "
            f"moved together, {STEP} s at a time"
        )
        self._say(
            f"a lease of {LEASE // 60} minutes would have run out, but there were "
            f"[bold]{renewals} renewals[/]: Graph shows [bold]{self._shown()}[/]"
        )
        if not renewals or self._shown() != len(PEOPLE):
            raise Failed("the renewals did not keep the sessions")

    def _let_it_renew(self, now: float) -> None:
        """Wait for requests under way: they take real time, which moving a clock does not give."""
        patience = monotonic() + 10
        while monotonic() < patience:
            ends = [session["expires_at"] for session in self._stage.graph("GET", "sessions")]
            if not ends or min(ends) - now > LEASE / 3:
                return
            sleep(0.02)

    def _shut_down(self, bot: Child) -> list[str]:
        stage = self._stage
        with self._scene("The weather turns bad"):
            self._vanish(VANISH_LATER)
            for _, user in LOST:
                fault = {"verb": "clear", "effect": "missing", "user": user, "applied": True}
                stage.graph("POST", "faults", fault | {"times": 1})
            bad = {"verb": "clear", "effect": "status", "status": 503, "retry_after": 0.5}
            stage.graph("POST", "faults", bad | {"times": 40, "every": 2})
            busy = {"verb": "clear", "effect": "throttle", "retry_after": 1}
            stage.graph("POST", "faults", busy | {"times": 1, "after": 150})
        self._say(
            f"{len(VANISH_LATER)} more sessions vanish, {len(LOST)} answers will be lost, 40 "
            "requests get a 503, one a 429"
        )
        before = len(stage.graph("GET", "journal"))
        with self._scene(f"It shuts down, within {DEADLINE} s"):
            closed = self._close(bot)
        lines = stage.graph("GET", f"journal?since={before}")
        left = stage.graph("GET", "sessions")
        self._report(closed, lines, left)
        return _disagreements(closed, lines, left)

    def _close(self, bot: Child) -> dict[str, Any]:
        bot.tell("close", str(DEADLINE))
        with Progress(
            TextColumn("     "),
            BarColumn(bar_width=50),
            MofNCompleteColumn(),
            TextColumn("cleared"),
            console=self._screen,
            disable=not self._screen.is_terminal,
        ) as bar:
            task = bar.add_task("", total=len(PEOPLE))
            while (answer := bot.hear("progress", "closed"))["event"] == "progress":
                bar.update(task, completed=answer["done"])
        return answer

    def _report(
        self, closed: dict[str, Any], lines: list[dict[str, Any]], left: list[dict[str, Any]]
    ) -> None:
        counts = closed["counts"]
        table = Table(box=None, padding=(0, 3, 0, 2))
        table.add_column("the bot's ledger says")
        table.add_column("", justify="right")
        table.add_column("", style="dim")
        for kind, meaning in GONE.items():
            table.add_row(kind, str(counts.get(kind, 0)), meaning)
        unknown = sum(number for kind, number in counts.items() if kind not in GONE)
        table.add_row("not known", str(unknown), "" if unknown else "nothing was left open")
        table.add_section()
        table.add_row("[bold]the emulator says[/]")
        table.add_row("sessions left", str(len(left)), f"after {len(lines)} requests to clear")
        self._say(f"in {closed['seconds']:.1f} s\n")
        self._screen.print(table)
        for problem in closed["problems"]:
            self._say(f"{problem['user']} is {problem['kind']}: {problem['why']}")

    def _hold(self, bot: Child) -> None:
        answer = bot.ask("hold", *(f"{tenant}/{user}" for tenant, user in PEOPLE), event="held")
        if answer["failed"]:
            raise Failed(f"a hold failed: {answer['failed'][0]}")

    def _vanish(self, people: list[tuple[str, str]]) -> None:
        for tenant, user in people:
            self._stage.graph("DELETE", f"sessions/{tenant}/{self._stage.client_id}/{user}")

    def _shown(self) -> int:
        return len(self._stage.graph("GET", "sessions"))

    @contextmanager
    def _scene(self, title: str) -> Iterator[None]:
        self._act += 1
        self._screen.print(f"[bold cyan]{self._act:>2}[/]  [bold]{title}[/]")
        yield

    def _say(self, text: str) -> None:
        self._screen.print(f"    {text}")


def _counts(report: dict[str, Any]) -> str:
    counts = sorted(report["counts"].items(), key=lambda each: [*GONE, each[0]].index(each[0]))
    return ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in counts)


def _disagreements(
    closed: dict[str, Any], lines: list[dict[str, Any]], left: list[dict[str, Any]]
) -> list[str]:
    """Where the report says what the emulator did not see."""
    found = []
    counts = closed["counts"]
    if sum(counts.values()) != len(PEOPLE):
        found.append(f"{len(PEOPLE)} were held, but {sum(counts.values())} have an outcome")
    unknown = sum(number for kind, number in counts.items() if kind not in GONE)
    if len(left) > unknown:
        found.append(f"the emulator has {len(left)} sessions, the ledger fears only {unknown}")
    if closed["ok"] and left:
        found.append(f"the report says all are gone, the emulator has {len(left)} sessions")
    if not closed["ok"]:
        found.append(f"{unknown} sessions were left open: see above")
    clears: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        if line["verb"] == "clear":
            clears[line["user"]].append(line)
    seen = dict.fromkeys(GONE, 0)
    for tries in clears.values():
        told = {line["status"] for line in tries if line["answered"]}
        doubt = any(not line["answered"] or (line["status"] or 500) >= 500 for line in tries)
        if 200 in told:
            seen["cleared"] += 1
        elif 404 in told:
            seen["gone_after_retry" if doubt else "already_gone"] += 1
    for kind, number in seen.items():
        if counts.get(kind, 0) != number:
            found.append(f"{counts.get(kind, 0)} {kind} by the ledger, {number} by the emulator")
    return found
