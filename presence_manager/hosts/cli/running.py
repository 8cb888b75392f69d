"""How a command runs: its exit status, its errors as sentences, and the signals that stop it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Any, NoReturn

SELDOM = 100_000
"""New objects after which the collector looks for cycles among them; 20 MB, about."""
_SIGNALS = tuple(
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if (number := getattr(signal, name, None)) is not None
)


class Status(IntEnum):
    """The exit statuses (design, section 9)."""

    DONE = 0
    PROBLEMS = 1
    WRONG = 2
    NO_SIGN_IN = 3
    INTERRUPTED = 4


class Wrong(Exception):
    """What was asked cannot be done as it stands; the text says why, and what to do."""


class Stop:
    """The user's wish that the command end: `asked` by the first signal, `hurried` by the second.

    A third one ends the process where it stands; the ledger has all that it needs by then.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()

    def ask(self) -> None:
        """Hear a signal."""
        if self.hurried.is_set():
            os._exit(Status.INTERRUPTED)
        (self.hurried if self.asked.is_set() else self.asked).set()

    async def comes_before(self, task: asyncio.Task[Any]) -> bool:
        """Wait for the task or the signal; whether the signal came and the task is not done."""
        return await _comes_before(self.asked, task)

    async def hurries(self, task: asyncio.Task[Any]) -> bool:
        """Wait for the task or a second signal; whether that came and the task is not done."""
        return await _comes_before(self.hurried, task)


async def _comes_before(event: asyncio.Event, task: asyncio.Task[Any]) -> bool:
    waiter = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
    return not task.done()


class _Debug:
    """Whether faults are shown with their traceback (`wanted`), and the log (`verbose`)."""

    def __init__(self) -> None:
        # Taken out, for every other variable of that prefix is a setting, and checked.
        self.wanted = os.environ.pop("PRESENCE_DEBUG", "0") not in ("", "0")
        self.verbose = False


debug = _Debug()


def finish(command: Callable[[], int]) -> NoReturn:
    """Run the command and end the process with its status."""
    sys.exit(int(_status(command)))


def serve(work: Callable[[Stop], Coroutine[Any, Any, int]]) -> int:
    """Run the work in an event loop, with a `Stop` that the signals ask.

    Work makes records by the million and hardly a cycle: the collector looks for them seldom,
    which saves a sweep a tenth of its time.
    """

    async def main() -> int:
        stop = Stop()
        with _heard_by(stop):
            return await work(stop)

    usual = gc.get_threshold()
    gc.set_threshold(SELDOM)
    try:
        return asyncio.run(main())
    finally:
        gc.set_threshold(*usual)


def printable(text: str) -> str:
    """Text from anywhere, as a terminal may be given it: control characters as what they are."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def say(text: str) -> None:
    """Tell the user something on stderr, one paragraph."""
    with suppress(OSError):
        print(*map(printable, text.split("\n")), sep="\n", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Warn the user."""
    say(f"warning: {text}")


def fail(text: str) -> None:
    """Say what went wrong, a line for each fault."""
    for line in text.splitlines():
        say(f"presence-manager: {line}")


def _status(command: Callable[[], int]) -> int:
    from presence_manager.errors import PresenceError  # noqa: PLC0415 - not for --help

    try:
        with _ended_by_signals():
            return command()
    except KeyboardInterrupt:
        say("interrupted")
        return Status.INTERRUPTED
    except BrokenPipeError:
        let_go_of_stdout()
        return Status.DONE
    except (Wrong, PresenceError) as error:
        _show_traceback()
        fail(str(error))
        return Status.WRONG
    except OSError as error:
        _show_traceback()
        name = f" {error.filename}" if error.filename else ""
        fail(f"the system refused{name}: {error.strerror or type(error).__name__}")
        return Status.WRONG
    except Exception as error:
        if not debug.wanted:
            kind = type(error).__name__
            fail(f"a fault of presence-manager itself ({kind}): run it again with --debug to see")
            return Status.PROBLEMS
        raise


def _show_traceback() -> None:
    if debug.wanted:
        traceback.print_exc()


def let_go_of_stdout() -> None:
    """Nobody reads it any more: what is still buffered goes nowhere, without a complaint."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextmanager
def while_read() -> Iterator[None]:
    """Write to stdout as long as somebody reads it; the rest is dropped."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        let_go_of_stdout()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Outside of the event loop every signal is a KeyboardInterrupt, as Ctrl-C is."""

    def interrupt(*_: object) -> None:
        # What is open at this very instant ends with the process, a moment from now.
        warnings.simplefilter("ignore", ResourceWarning)
        raise KeyboardInterrupt

    before = {}
    for number in _SIGNALS:
        with suppress(ValueError, OSError):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _heard_by(stop: Stop) -> Iterator[None]:
    """Let the signals ask the stop; under nohup the end of the terminal is no signal."""
    loop = asyncio.get_running_loop()
    before = {}
    for number in _SIGNALS:
        ignored = signal.getsignal(number) in (signal.SIG_IGN, None)
        if ignored and number != signal.SIGINT:  # a shell's background job: it should still release
            continue
        with suppress(ValueError, OSError):
            before[number] = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, stop.ask)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.ask))
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, handler)
