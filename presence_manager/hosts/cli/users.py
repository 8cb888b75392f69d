"""The users to clear, read from the command line, a file or standard input.

A file has one user id in a line, or a tenant's id, a comma and a user's id. It is read twice: once
to check every line before anything is sent, and once to clear. Neither keeps more of it than one
line, and some eighty bytes for each user, so that those named twice are told of beforehand.
"""

from __future__ import annotations

import codecs
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO
from uuid import UUID

from presence_manager.core.key import guid
from presence_manager.hosts.cli.running import Wrong

Person = tuple[str, str]
"""A tenant's id and a user's id."""

LONGEST_LINE = 1_000
"""Bytes; two ids and a comma have 73, the rest is patience with blanks."""
INTAKE = 1_000
"""Users between two marks: where `--from-line` can go on."""
_SPOOLED = 1 << 20
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Users:
    """Who is to be cleared, in order, each once; iterate over it as often as needed.

    `tenant` is the one meant where a line has none; with `only` lines of other tenants are left
    out. `total` and `duplicates` and `others` (left out) are known when `check` has been through.
    While it is iterated over, `marks` has the line of every `INTAKE`th user, and `line` the last
    one that was read.
    """

    def __init__(
        self, source: IO[bytes], name: str, *, tenant: str, only: bool = False, from_line: int = 1
    ) -> None:
        self.name = name
        self.total = self.duplicates = self.others = 0
        self.line = 0
        self.marks: list[int] = []
        self._checked = False
        self._source = source
        self._tenant = tenant
        self._only = only
        self._from_line = from_line

    def check(self) -> None:
        """Look at every line. Raises Wrong for the first that cannot be used."""
        self.total = sum(1 for _ in self)
        if self._from_line > max(1, self.line):
            raise Wrong(
                f"--from-line {self._from_line}: {self.name} ends with line {self.line}; "
                "nothing was sent"
            )
        if not self.total and not self.others:
            raise Wrong(
                f"{self.name} names no user: write one user id in a line (or tenant,user); "
                "nothing was sent"
            )
        self._checked = True

    def __iter__(self) -> Iterator[Person]:
        self._source.seek(0)
        self.marks, self.line, self.duplicates, self.others = [], 0, 0, 0
        seen: set[bytes] = set()
        for text in self._lines():
            tenant, user = self._person(text)
            if self._only and tenant != self._tenant:
                self.others += 1
                continue
            print_of_both = UUID(user).bytes
            if tenant != self._tenant:
                print_of_both += UUID(tenant).bytes
            if print_of_both in seen:
                self.duplicates += 1
                continue
            if len(seen) % INTAKE == 0:
                self.marks.append(self.line)
            seen.add(print_of_both)
            yield tenant, user

    def close(self) -> None:
        """Let the file go."""
        self._source.close()

    def line_after(self, taken: int) -> int | None:
        """The line of the user that follows the first `taken` ones; None if all were taken.

        Rounded down to a mark: all lines before it have been taken in.
        """
        if taken >= self.total:
            return None
        index = taken // INTAKE
        return self.marks[index] if index < len(self.marks) else self.line + 1

    def _lines(self) -> Iterator[str]:
        while raw := self._source.readline(LONGEST_LINE):
            self.line += 1
            if self.line == 1:
                if raw.startswith(_WIDE):
                    raise self._wrong("the file is in UTF-16: save it as UTF-8 or plain text")
                raw = raw.removeprefix(codecs.BOM_UTF8)
            if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
                raise self._wrong(
                    f"the line is longer than {LONGEST_LINE} bytes: write one user id in a line"
                )
            if self.line < self._from_line:
                continue
            try:
                text = raw.decode().strip()
            except UnicodeDecodeError:
                text = "\0"
            if not text.replace("\t", " ").isprintable():
                raise self._wrong("this is not text: write one user id in a line")
            if text:
                yield text

    def _person(self, text: str) -> Person:
        first, comma, second = text.partition(",")
        try:
            if comma:
                return guid(first.strip(), "tenant"), guid(second.strip(), "user")
            user = guid(text, "user")
        except ValueError as error:
            raise self._wrong(str(error)) from None
        if not self._tenant:
            raise self._wrong(
                "there is no tenant: write tenant,user, or give --tenant or PRESENCE_TENANT_ID"
            )
        return self._tenant, user

    def _wrong(self, what: str) -> Wrong:
        where = f"{self.name}, line {self.line}" if self.line else self.name
        end = "it was changed while it was read" if self._checked else "nothing was sent"
        return Wrong(f"{where}: {what}; {end}")


def named(words: Iterable[str], *, tenant: str, only: bool) -> Users:
    """The users named on the command line, checked. Raises Wrong."""
    source = tempfile.SpooledTemporaryFile(max_size=_SPOOLED)  # noqa: SIM115 - the caller's now
    source.writelines(f"{word[:LONGEST_LINE]}\n".encode(errors="replace") for word in words)
    return _checked(Users(source, "the users given", tenant=tenant, only=only))


def listed(file: str, *, tenant: str, only: bool, from_line: int) -> Users:
    """The users in a file, `-` being standard input, all checked. Raises Wrong."""
    name = "standard input" if file == "-" else file
    try:
        source = _opened(file)
    except OSError as error:
        raise Wrong(f"--users: {name} cannot be read: {error.strerror}") from None
    return _checked(Users(source, name, tenant=tenant, only=only, from_line=from_line))


def _checked(users: Users) -> Users:
    try:
        users.check()
    except BaseException:
        users.close()
        raise
    return users


def _opened(file: str) -> IO[bytes]:
    """Open it; what can be read only once (a pipe, a terminal) is copied to a file of ours."""
    if file == "-":
        return _copied(sys.stdin.buffer)
    source = Path(file).open("rb")  # noqa: SIM115 - the caller's
    if stat.S_ISREG(os.fstat(source.fileno()).st_mode):
        return source
    with source:
        return _copied(source)


def _copied(source: IO[bytes]) -> IO[bytes]:
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's
    try:
        while line := source.readline(LONGEST_LINE):
            copy.write(line)
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                break  # the check will refuse it: what follows may have no end
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy
