"""Where a ledger lies by default, and what the file system under it means for it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from presence_manager.errors import LedgerUnusable
from presence_manager.settings.places import state_folder

_MOUNTS = Path("/proc/self/mountinfo")
_VOLATILE = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_LAYERED = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs"})
_REMOTE = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "afs", "ceph", "lustre"),
        *("glusterfs", "gfs2", "ocfs2", "beegfs", "gpfs", "fuse.sshfs", "fuse.s3fs"),
        *("fuse.gcsfuse", "fuse.rclone", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse"),
        *("fuse.blobfuse", "fuse.blobfuse2", "fuse.mount-s3", "fuse.grpcfuse", "fuse.osxfs"),
    }
)


class Mount(NamedTuple):
    """A mount point and the kind of file system mounted there."""

    point: str
    kind: str


def default_path(platform: str, environ: Mapping[str, str], home: Path | None) -> Path:
    """Return the ledger file in the user's state folder.

    `platform` is `sys.platform`. Raises LedgerUnusable where no folder of the user is known.
    """
    folder = state_folder(platform, environ, home)
    if folder is None:
        raise LedgerUnusable(
            "no place for the ledger: this user has no home folder. Name a file with "
            "PRESENCE_LEDGER__URL=sqlite:////absolute/path/ledger.db"
        )
    return folder / "ledger.db"


def parse_mounts(text: str) -> list[Mount]:
    """Read the text of /proc/self/mountinfo; lines that are not understood are left out."""
    mounts = []
    for line in text.splitlines():
        front, dash, back = line.partition(" - ")
        fields, kind = front.split(" "), back.partition(" ")[0]
        if dash and kind and len(fields) >= 6:
            mounts.append(Mount(_unescaped(fields[4]), kind))
    return mounts


def mount_of(path: str, mounts: list[Mount]) -> Mount | None:
    """Return the mount that holds the absolute path: the longest prefix, the latest of equals."""
    best = None
    for mount in mounts:
        point = mount.point.rstrip("/")
        inside = path == point or path.startswith(point + "/")
        if inside and (best is None or len(point) >= len(best.point.rstrip("/"))):
            best = mount
    return best


def warning_of(path: Path, kind: str) -> str | None:
    """Return what a file system of that kind means for the ledger, None when all is well."""
    if kind in _VOLATILE:
        return (
            f"the ledger {path} lies on {kind}, in memory: after a restart of this machine nobody "
            "knows which users are still shown. Put it on a disk (PRESENCE_LEDGER__URL)"
        )
    if kind in _LAYERED:
        return (
            f"the ledger {path} lies on {kind}, inside a container: when the container is "
            "replaced, nobody knows which users are still shown. Put it on a volume "
            "(PRESENCE_LEDGER__URL)"
        )
    if kind in _REMOTE:
        return (
            f"the ledger {path} lies on {kind}, not on a disk of this machine: locks may not hold "
            "there, so that it can be damaged and a dead process taken for a living one. Put it "
            "on a local disk (PRESENCE_LEDGER__URL)"
        )
    return None


def place_warnings(path: Path, mounts: Path = _MOUNTS) -> list[str]:
    """Return what an operator should know of the place; nothing where the system tells nothing."""
    try:
        text = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    mount = mount_of(str(path), parse_mounts(text))
    warning = warning_of(path, mount.kind) if mount else None
    return [warning] if warning else []


def _unescaped(field: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field


def file_warnings(path: Path) -> list[str]:
    """Return whether others on this machine may read the ledger."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return []
    if os.name == "nt" or not mode & 0o077:
        return []
    return [
        f"other users of this machine may open the ledger {path} (mode {mode:04o}), and it names "
        f"the users that are shown; chmod 600 closes it"
    ]
