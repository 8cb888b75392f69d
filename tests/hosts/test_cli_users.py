"""Users files: what is read, what is refused, and where to go on."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import pytest
from cli_runs import OTHER_TENANT, TENANT, user

from presence_manager.hosts.cli.running import Wrong
from presence_manager.hosts.cli.users import INTAKE, LONGEST_LINE, Users, listed, named


def users(content: bytes, tenant: str = TENANT, *, only: bool = False, from_line: int = 1) -> Users:
    found = Users(io.BytesIO(content), "file", tenant=tenant, only=only, from_line=from_line)
    found.check()
    return found


def text(*lines: str) -> bytes:
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    "content",
    [
        text(user(1), user(2)),
        text(user(1), user(2), ""),
        text(user(1), user(2)).replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + text(user(1), user(2)),
        text("", user(1), "   ", "\t", user(2), ""),
        text(f"  {user(1)}\t", user(2).upper()),
        text(user(1), user(1).upper(), user(2), f"{TENANT},{user(1)}"),
        text(f"{TENANT} , {user(1)}", f"{TENANT},{user(2)}"),
    ],
)
def test_whatever_editors_make_of_it_is_read(content: bytes) -> None:
    assert list(users(content)) == [(TENANT, user(1)), (TENANT, user(2))]


def test_duplicates_are_counted() -> None:
    found = users(text(user(1), user(2), user(1), user(1)))
    assert (found.total, found.duplicates) == (2, 2)


def test_the_same_user_in_two_tenants_is_two() -> None:
    lines = text(user(1), f"{OTHER_TENANT},{user(1)}")
    assert list(users(lines)) == [(TENANT, user(1)), (OTHER_TENANT, user(1))]
    narrowed = users(lines, only=True)
    assert (list(narrowed), narrowed.others) == ([(TENANT, user(1))], 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "file names no user: write one user id in a line"),
        (b"\n \n\r\n", "names no user"),
        (b"\xef\xbb\xbf", "names no user"),
        (text(user(1), "", "anna@example.com"), r"file, line 3: 'anna@example.com' is not a user"),
        (text("id", user(1)), "line 1: 'id' is not a user id"),
        (text(user(1), f"contoso.com,{user(1)}"), "line 2: 'contoso.com' is not a tenant id"),
        (text(user(1), "\x00\x01\x02"), "line 2: this is not text"),
        (b"\x89PNG\r\n\x1a\n", "line 1: this is not text"),
        (text(user(1)).decode().encode("utf-16"), "line 1: the file is in UTF-16"),
        (text(user(1)) + b"\n" + b"a" * 10_000_000, "line 2: the line is longer than"),
        (b"\x00" * 10_000_000, "line 1: the line is longer than"),
        (text(user(1)).replace(b"-", "\N{EN DASH}".encode()), "is not a user id"),
    ],
)
def test_what_cannot_be_used_is_named_by_its_line(content: bytes, says: str) -> None:
    with pytest.raises(Wrong, match=says) as caught:
        users(content)
    assert "nothing was sent" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_line_without_a_tenant_needs_a_default() -> None:
    with pytest.raises(Wrong, match=r"line 2: there is no tenant: .*--tenant or PRESENCE_TENANT_"):
        users(text(f"{TENANT},{user(1)}", user(2)), tenant="")


def test_a_long_line_is_never_read_whole() -> None:
    class Watched(io.BytesIO):
        longest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            Watched.longest = max(Watched.longest, len(line))
            return line

    with pytest.raises(Wrong):
        Users(Watched(b"a" * 10_000_000), "file", tenant=TENANT).check()
    assert Watched.longest <= LONGEST_LINE


def test_it_goes_on_with_a_line() -> None:
    lines = text(user(1), "", user(2), user(3))
    assert list(users(lines, from_line=3)) == [(TENANT, user(2)), (TENANT, user(3))]
    with pytest.raises(Wrong, match="--from-line 9: file ends with line 4"):
        users(lines, from_line=9)


def test_where_to_go_on() -> None:
    """All lines before it have been taken in, blank and double ones included."""
    lines = ["", user(0), user(0), *(user(n) for n in range(1, 2 * INTAKE + 5))]
    found = users(text(*lines))
    each = iter(found)
    for _ in range(INTAKE + 1):
        next(each)
    assert found.line_after(0) == 2
    assert found.line_after(INTAKE - 1) == 2
    assert found.line_after(INTAKE) == INTAKE + 3
    assert lines[found.line_after(INTAKE) - 1] == user(INTAKE)  # type: ignore[operator]
    list(each)
    assert found.line_after(2 * INTAKE) == 2 * INTAKE + 3
    assert found.line_after(found.total) is None


def test_a_chunk_taken_in_before_the_next_line_is_read() -> None:
    found = users(text(*(user(n) for n in range(2 * INTAKE))))
    each = iter(found)
    for _ in range(INTAKE):
        next(each)
    assert found.line_after(INTAKE) == INTAKE + 1


def test_a_file_that_changes_between_the_looks(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    path.write_bytes(text(user(1), user(2)))
    found = listed(str(path), tenant=TENANT, only=False, from_line=1)
    path.write_bytes(text(user(1), "oh"))
    with (
        closing(found),
        pytest.raises(Wrong, match=r"line 2: 'oh' is not a user id.*changed while it was read"),
    ):
        list(found)


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(Wrong, match=r"--users: .* cannot be read: "):
        listed(str(tmp_path / name), tenant=TENANT, only=False, from_line=1)


def test_the_users_of_the_command_line() -> None:
    words = [user(1), f"{OTHER_TENANT},{user(2)}"]
    with closing(named(words, tenant=TENANT, only=False)) as found:
        assert list(found) == [(TENANT, user(1)), (OTHER_TENANT, user(2))]
    with pytest.raises(Wrong, match="the users given, line 2: 'x' is not"):
        named([user(1), "x"], tenant=TENANT, only=False)
