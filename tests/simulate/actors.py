"""Callers: they hold, change, release and clear the same few users, and know what they were told.

What a call promises is kept as an expectation, and held against the ledger in peace.
"""

from __future__ import annotations

import asyncio
from typing import Any

from presence_manager import HoldFailed, HoldRequest, PresenceError
from presence_manager.core.key import Key
from presence_manager.core.pair import PAIRS
from presence_manager.errors import Closed

from .life import Life
from .plan import Act

ALL = "*"


class Call:
    """One call: on which users and name, from when to when, and what it came to."""

    def __init__(self, act: Act, life: Life, started: float) -> None:
        self.act = act
        self.life = life
        self.started = started
        self.ended: float | None = None
        self.result: Any = None
        self.error: BaseException | None = None


class Callers:
    """All callers of all processes."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self.calls: list[Call] = []

    def start(self, life: Life, act: Act) -> None:
        call = Call(act, life, self.run.world.now)
        self.calls.append(call)
        task = life.start(self._call(call))
        if act.cancel_after is not None:
            asyncio.get_running_loop().call_later(act.cancel_after, task.cancel)
        elif act.cancel_turns is not None:
            self.run.loop_call_after_turns(act.cancel_turns, task.cancel)

    async def _call(self, call: Call) -> None:
        act, run = call.act, self.run
        try:
            call.result = await self._do(call.life, act)
        except PresenceError as error:
            call.error = error
        except asyncio.CancelledError as error:
            call.error = error
        except Exception as error:
            call.error = error
            if not call.life.dead:
                run.judge.blame(0, f"{act.what} raised {type(error).__name__}: {error}")
        call.ended = run.world.now
        if call.life.dead:
            return
        said = type(call.error).__name__ if call.error else getattr(call.result, "kind", "ok")
        run.say("call", call.life.owner[-4:], act.what, act.user, act.name, said)
        self._in_time(call)
        if act.what in ("release", "clear") and call.error is None:
            self._agrees(call.result)

    async def _do(self, life: Life, act: Act) -> Any:
        manager, user = life.manager, self.run.users[act.user]
        pair = PAIRS[act.pair]
        key = act.name
        timeout = act.seconds
        if act.what == "hold":
            ttl = act.ttl if not act.detached else act.ttl or 600.0
            hold = await manager.hold(
                user,
                *pair,
                key=key,
                ttl=ttl,
                timeout=timeout,
                wait=act.wait,
                detached=act.detached,
            )
            if act.wait and hold.state == "shown":
                key_ = self.run.key(life, act.user)
                if self.run.world.truth(key_).set_told_at < 0 or key_ in self.run.world.wrong:
                    self.run.judge.blame(8, f"user {act.user} is shown, and no 200 was told")
            return hold
        if act.what == "many":
            requests = [
                HoldRequest(one, *pair, key=key, timeout=timeout, wait=act.wait, ttl=act.ttl)
                for one in self.run.users
            ]
            return await manager.hold_many(requests)
        if act.what == "release":
            return await manager.release(user, key=key)
        if act.what == "clear":
            return await manager.clear(user, deadline=timeout)
        if act.what == "sweep":
            return await manager.sweep(deadline=timeout)
        if act.what == "everyone":
            return await manager.sweep(everyone=True, deadline=timeout)
        if act.what == "users":
            return await manager.sweep(users=self.run.users, deadline=timeout)
        if act.what == "track":
            self.run.world.set_by_others(self.run.key(life, act.user), 600.0, tracked=True)
            until = life.clock.now() + 600.0
            return await manager.track(user, key=key, expires_at=until)
        if act.what == "other":
            return self.run.world.set_by_others(self.run.key(life, act.user), 300.0)
        raise AssertionError(act.what)

    def _in_time(self, call: Call) -> None:
        """Rule 10, as far as the disk answers."""
        act = call.act
        if act.what not in ("sweep", "everyone", "users", "clear", "release"):
            return
        deadline = 10.0 if act.what == "release" else act.seconds
        if deadline is None and act.what == "clear":
            deadline = 10.0
        assert call.ended is not None
        if deadline is None or self.run.disk_troubled(call.started, call.ended):
            return
        if call.ended - call.started > deadline + 1.0 + 1e-3:
            took = call.ended - call.started
            self.run.judge.blame(10, f"{act.what} took {took:.3f} s of {deadline:g}")

    def _agrees(self, outcome: Any) -> None:
        """Rule 3: what a caller is told is what the ledger has, if it is final."""
        if not outcome.recorded or not outcome.kind.final:
            return
        kind = self.run.judge.outcomes.get((outcome.sweep_id, outcome.key))
        if kind is not outcome.kind:
            self.run.judge.blame(3, f"the caller was told {outcome.kind}, the ledger has {kind}")

    def peace(self) -> None:
        """Rules 4 and 5: the last word on each hold counts, if no other call was under way."""
        for life in self.run.alive():
            for user in range(self.run.plan.users):
                for name in ("k1", "k2", "k3"):
                    self._last_word(self.run.key(life, user), user, name, life.app)

    def _last_word(self, key: Key, user: int, name: str, app: str) -> None:
        calls = [c for c in self.calls if c.life.app == app and _touches(c.act, user, name)]
        if not calls:
            return
        last = max(calls, key=lambda call: call.started)
        if last.ended is None or last.life.dead or last.life.closing:
            return
        if any(c is not last and (c.ended is None or c.ended >= last.started) for c in calls):
            return
        if isinstance(last.error, Closed | asyncio.CancelledError):
            return
        row = self.run.judge.rows.get(key)
        wish = row.wish(name) if row is not None else None
        act = last.act
        held = act.what == "hold" and last.error is None
        if act.what == "many" and last.error is None:
            held = not isinstance(last.result[user], HoldFailed)
        if held:
            hold = last.result if act.what == "hold" else last.result[user]
            # If it was another process that Graph refused it to, its own hears but of the end.
            refused = self.run.world.truth(key).set_refused_at >= last.started
            if (
                (hold.state == "shown" or (hold.ended == "cleared" and not refused))
                and hold.until > self.run.judge.latest_clock()
                and wish is None
            ):
                self.run.judge.blame(4, f"the hold {name} of user {user} is gone")
            if wish is not None and wish.pair is not None and wish.pair != PAIRS[act.pair]:
                self.run.judge.blame(4, f"the hold {name} of user {user} wants {wish.pair}")
        elif act.what in ("release", "clear", "everyone", "users") and last.error is None:
            if wish is not None and not _untold(last.result, key):
                self.run.judge.blame(4, f"{name} of user {user} is left after {act.what}")
        elif act.what == "hold" and wish is not None and last.error is not None:
            why = type(last.error).__name__
            if why in ("HoldTimeout", "HoldRefused"):
                self.run.judge.blame(4, f"{name} of user {user} is held after {why}")


def _untold(result: Any, key: Key) -> bool:
    """Whether a sweep has said that it could not ask the ledger who holds the user."""
    return any(o.key == key and o.reason == "ledger" for o in getattr(result, "unrecorded", ()))


def _touches(act: Act, user: int, name: str) -> bool:
    if act.what in ("hold", "release", "track"):
        return act.user == user and act.name == name
    if act.what == "clear":
        return act.user == user
    if act.what == "many":
        return act.name == name
    return act.what in ("sweep", "everyone", "users")
