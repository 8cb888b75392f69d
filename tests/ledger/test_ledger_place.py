"""Where a ledger lies, by URL and by default, and what is said of the place."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from presence_manager.errors import LedgerUnusable
from presence_manager.ledger import MemoryLedger, SqliteLedger, open_ledger
from presence_manager.ledger.place import (
    Mount,
    default_path,
    file_warnings,
    mount_of,
    parse_mounts,
    place_warnings,
    warning_of,
)

HOME = Path("/home/me")
FILE = "presence-manager/ledger.db"


@pytest.mark.parametrize(
    ("platform", "environ", "path"),
    [
        ("linux", {}, f"/home/me/.local/state/{FILE}"),
        ("linux", {"XDG_STATE_HOME": "/var/state"}, f"/var/state/{FILE}"),
        ("linux", {"XDG_STATE_HOME": "relative"}, f"/home/me/.local/state/{FILE}"),
        ("linux", {"LOCALAPPDATA": "/x"}, f"/home/me/.local/state/{FILE}"),
        (
            "darwin",
            {"XDG_STATE_HOME": "/x"},
            f"/home/me/Library/Application Support/{FILE}",
        ),
        ("win32", {"LOCALAPPDATA": "/users/me/local"}, f"/users/me/local/{FILE}"),
        ("win32", {}, f"/home/me/AppData/Local/{FILE}"),
    ],
)
def test_the_default_lies_in_the_state_folder(
    platform: str, environ: dict[str, str], path: str
) -> None:
    assert default_path(platform, environ, HOME) == Path(path)


def test_without_a_home_a_file_must_be_named() -> None:
    with pytest.raises(LedgerUnusable, match="PRESENCE_LEDGER__URL"):
        default_path("linux", {}, None)
    assert default_path("linux", {"XDG_STATE_HOME": "/s"}, None) == Path("/s") / FILE


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/pm/l.db", "/var/lib/pm/l.db"),
        ("SQLite:////a b/%20.db", "/a b/%20.db"),
        ("sqlite:///here/l.db", "{cwd}/here/l.db"),
        ("sqlite:///~/l.db", "{home}/l.db"),
        ("", "{state}/" + FILE),
    ],
)
def test_a_url_names_a_file(
    url: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    ledger = open_ledger(url)
    assert isinstance(ledger, SqliteLedger)
    assert str(ledger.path) == path.format(cwd=tmp_path, home="/home/me", state="/state")
    assert list(tmp_path.iterdir()) == [], "nothing is made before it is opened"


def test_memory_is_a_url_too() -> None:
    assert isinstance(open_ledger("memory://"), MemoryLedger)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql://user:s3cret@db/x", "a postgresql:// ledger"),
        ("mysql+x://user:s3cret@db/x", r"a mysql\+x:// ledger"),
        ("user:s3cret@db/x", "without a scheme"),
        ("://s3cret", "without a scheme"),
        ("sqlite://user:s3cret@host/x", "third slash"),
        ("sqlite://", "third slash"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///l.db?key=s3cret", "no options"),
        ("sqlite:///l.db#s3cret", "no options"),
        ("sqlite:///a\0b", "no options"),
        ("sqlite:///~nobody-of-that-name/s3cret", "no home"),
    ],
)
def test_any_other_url_is_refused_without_repeating_it(url: str, what: str) -> None:
    with pytest.raises(LedgerUnusable, match=what) as caught:
        open_ledger(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "sqlite:////absolute" in str(caught.value) or "~" in str(caught.value)


def test_without_a_home_the_default_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", lost)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    with pytest.raises(LedgerUnusable, match="no home folder"):
        open_ledger("")


MOUNTINFO = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
31 22 0:40 / /data rw shared:7 master:1 - nfs4 server:/export rw,vers=4.2
32 31 8:2 / /data/local rw - xfs /dev/sdb rw
33 22 0:41 / /with\040space rw - tmpfs tmpfs rw
34 22 0:42 / /data/local rw - fuse.sshfs me@host: rw
nonsense
35 22 0:43 / /short - ext4
36 22 0:43 / /cut rw -
"""


@pytest.mark.parametrize(
    ("path", "point", "kind"),
    [
        ("/home/me/l.db", "/", "ext4"),
        ("/data/l.db", "/data", "nfs4"),
        ("/database/l.db", "/", "ext4"),
        ("/data", "/data", "nfs4"),
        ("/data/local/l.db", "/data/local", "fuse.sshfs"),
        ("/with space/l.db", "/with space", "tmpfs"),
        ("/short/l.db", "/", "ext4"),
    ],
)
def test_the_mount_of_a_path_is_its_longest_and_latest_prefix(
    path: str, point: str, kind: str
) -> None:
    assert mount_of(path, parse_mounts(MOUNTINFO)) == Mount(point, kind)


def test_no_mount_is_no_warning() -> None:
    assert parse_mounts("") == []
    assert mount_of("/x", []) is None


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("tmpfs", "in memory: after a restart"),
        ("ramfs", "in memory"),
        ("overlay", "Put it on a volume"),
        ("nfs4", "locks may not hold"),
        ("cifs", "local disk"),
        ("9p", "local disk"),
        ("fuse.sshfs", "local disk"),
    ],
)
def test_a_doubtful_file_system_is_warned_about(kind: str, words: str, tmp_path: Path) -> None:
    warning = warning_of(Path("/l.db"), kind)
    assert warning is not None
    assert words in warning
    assert f"/l.db lies on {kind}" in warning
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - {kind} none rw\n")
    assert place_warnings(Path("/l.db"), mounts) == [warning]


def test_a_disk_is_no_matter_and_no_mountinfo_neither(tmp_path: Path) -> None:
    for kind in ("ext4", "xfs", "btrfs", "zfs", "apfs", "fuseblk"):
        assert warning_of(Path("/l.db"), kind) is None
    assert place_warnings(Path("/l.db"), tmp_path / "none") == []
    (tmp_path / "empty").write_text("")
    assert place_warnings(Path(PurePosixPath("/l.db")), tmp_path / "empty") == []


def test_a_file_that_others_may_read_is_warned_about(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch(mode=0o600)
    path.chmod(0o600)
    assert file_warnings(tmp_path / "gone") == []
    assert file_warnings(path) == []
    path.chmod(0o640)
    (warning,) = file_warnings(path)
    assert "mode 0640" in warning
    assert "chmod 600" in warning
