"""A sign-in that hangs holds up neither its callers, nor later ones, nor the process's end."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest

from presence_manager.errors import SignInUnavailable
from presence_manager.graph.tokens_failure import Failure
from presence_manager.graph.tokens_msal import MsalTokens
from presence_manager.graph.tokens_thread import DaemonThreads

from .token_server import OTHER, TENANT, Reply, TokenServer, settings_for, threads_gone


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """An event that work may hang on; set at the end, and all threads are gone then."""
    event = threading.Event()
    yield event
    event.set()
    threads_gone()
    gc.collect()


async def test_a_silent_platform_ends_at_the_timeout_and_a_later_call_does_not_queue(
    stuck: threading.Event,
) -> None:
    ticks = [0.0]
    with TokenServer() as server:
        server.script.append(Reply(None, before=lambda: stuck.wait(10)))
        settings = settings_for(server, sign_in_timeout=0.3)
        tokens = MsalTokens(settings, ticks=lambda: ticks[0])
        with pytest.raises(SignInUnavailable, match="answer"):
            await tokens.token(TENANT)
        ticks[0] += 10
        assert (await tokens.token(TENANT)).secret == "token-2"
        await tokens.close()


async def test_four_threads_may_hang_then_it_fails_at_once_until_one_returns(
    stuck: threading.Event,
) -> None:
    threads = DaemonThreads()
    begun = threading.Semaphore(0)

    def hang() -> str:
        begun.release()
        stuck.wait(10)
        return "too late"

    for _ in range(4):
        call = asyncio.create_task(threads.run(TENANT, hang))
        await asyncio.to_thread(begun.acquire, timeout=5)
        call.cancel()
        await asyncio.wait([call])
    assert repr(threads) == "DaemonThreads(4 running)"
    with pytest.raises(Failure, match="4 earlier requests still hang"):
        await threads.run(TENANT, lambda: "never begun")
    assert await threads.run(OTHER, lambda: "others are not touched") == "others are not touched"
    stuck.set()
    await asyncio.to_thread(threads_gone)
    assert await threads.run(TENANT, lambda: "well again") == "well again"


async def test_work_raises_as_it_did() -> None:
    def broken() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await DaemonThreads().run(TENANT, broken)


async def test_no_thread_to_be_had_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = DaemonThreads()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(6):
            with pytest.raises(Failure, match="no thread"):
                await threads.run(TENANT, lambda: None)
    assert repr(threads) == "DaemonThreads(0 running)"


def test_a_thread_that_outlives_its_loop_tells_nobody(stuck: threading.Event) -> None:
    threads = DaemonThreads()

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(threads.run(TENANT, lambda: stuck.wait(10)), 0.01)

    asyncio.run(leave())


PROGRAM = """
    import asyncio, sys, threading
    from presence_manager.errors import SignInUnavailable
    from presence_manager.graph.tokens_msal import MsalTokens
    from presence_manager.graph import tokens_http
    from presence_manager.settings import Settings

    tokens_http.IdentityClient.get = lambda *_, **__: threading.Event().wait()

    async def main():
        settings = Settings(client_id="app", client_secret="x", sign_in_timeout=0.2)
        tokens = MsalTokens(settings)
        if sys.argv[1] == "timeout":
            try:
                await tokens.token("tenant")
            except SignInUnavailable as error:
                print(error)
        else:
            caller = asyncio.create_task(tokens.token("tenant"))
            while not any(t.name == "sign-in tenant" for t in threading.enumerate()):
                await asyncio.sleep(0)
        if sys.argv[1] == "close":
            await tokens.close()
            await asyncio.wait([caller])
            print(caller.exception())

    asyncio.run(main())
    print("threads left:", sum(t.name == "sign-in tenant" for t in threading.enumerate()))
"""


@pytest.mark.parametrize("way", ["timeout", "close", "abandon"])
def test_the_process_ends_while_a_thread_hangs(way: str) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", textwrap.dedent(PROGRAM), way],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "threads left: 1" in done.stdout
    assert ("no answer within 0.2 s" in done.stdout) == (way == "timeout")
    assert ("closed" in done.stdout) == (way == "close")
    assert time.monotonic() - began < 10


def test_msal_and_requests_are_not_imported_before_a_token_is_needed() -> None:
    program = """
        import sys
        from presence_manager.graph.tokens import adapt
        from presence_manager.settings import Settings
        for way in ({"client_secret": "x"}, {"managed_identity": "user"}, {"delegated": "file"}):
            adapt(None, Settings(client_id="app", **way))
        heavy = {"msal", "msal_extensions", "requests", "cryptography", "jwt"}
        print(sorted(heavy & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == "[]\n"
