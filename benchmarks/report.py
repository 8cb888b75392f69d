"""RESULTS.md: the figures of a run as tables, in words, and how to repeat it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from benchmarks.alone import Figure
from benchmarks.judge import in_words
from benchmarks.runner import Record
from benchmarks.scenarios import ALONE, BOUNDS, PEERS, SCENARIOS

PACKAGES = (
    "aiohttp",
    "tenacity",
    "orjson",
    "office365-rest-python-client",
    "msgraph-beta-sdk",
    "msgraph-core",
)
WHO = {
    "ours": "presence-manager, SQLite ledger, every commit on the disk",
    "naive": "an afternoon's work: aiohttp, a semaphore of 50, tenacity; a request for each user",
    "office365": "Office365-REST-Python-Client, its batches of 20, four in flight",
    "msgraph_batch": "Microsoft's SDK, its batches of 20, four in flight, and a loop for retries",
    "msgraph_single": "Microsoft's SDK, a request for each user, fifty in flight",
    "floor": "a bound, no peer: aiohttp posts ready-made batches, no retries, no record",
    "raw": "a bound, no peer: the same on bare sockets",
}


def best_peer(records: Iterable[Record]) -> Record | None:
    """Return the fastest peer that left nobody shown, or else the fastest."""
    peers = [each for each in records if each.contender in PEERS and each.runs]
    return min(
        peers, key=lambda each: (each.judgement.left > 0, each.figure("seconds")), default=None
    )


def by_scenario(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the records by scenario, in order."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.scenario, []).append(record)
    return found


def table(records: Iterable[Record]) -> list[str]:
    """Return the rows of the main table."""
    rows = [
        "| scenario | contender | seconds | to the floor | ours to the best peer "
        "| CPU s | peak MiB | requests | refused | wrong | left shown | not told of |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, group in by_scenario(records).items():
        floors = [each for each in group if each.contender == "floor" and each.runs]
        bound = next((each for each in floors if not each.judgement.left), None)
        best = best_peer(group)
        for record in group:
            if not record.runs:
                rows.append(f"| {name} | {record.contender} | failed |" + " |" * 9)
                continue
            seconds, judgement = record.figure("seconds"), record.judgement
            cells = [
                name,
                record.contender,
                f"{seconds:.3f}",
                _ratio(seconds, bound),
                _ratio(seconds, best) if record.contender == "ours" else "",
                f"{record.figure('cpu'):.2f}",
                f"{record.figure('peak_mib'):.0f}",
                f"{record.figure('requests'):,.0f}",
                f"{record.figure('refused'):,.0f}",
                f"{judgement.wrong:,}",
                f"{judgement.left:,}",
                f"{judgement.unreported:,}",
            ]
            rows.append("| " + " | ".join(cells) + " |")
    return rows


def _ratio(seconds: float, other: Record | None) -> str:
    if other is None:
        return ""
    ratio = seconds / other.figure("seconds")
    name = "" if other.contender in BOUNDS else f" ({other.contender})"
    return (f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}") + name


def mistakes(records: Iterable[Record]) -> list[str]:
    """Return a line for each contender: what it got wrong."""
    found: dict[str, list[str]] = {}
    asked: dict[str, bool] = {}
    for record in records:
        if record.contender in BOUNDS:
            continue
        asked[record.contender] = True
        text = f"failed ({record.failed})" if record.failed else in_words(record.judgement)
        if text:
            runs = f", in {len(record.runs)} runs" if len(record.runs) > 1 else ""
            found.setdefault(record.contender, []).append(f"{record.scenario}{runs}: {text}")
    return [f"- `{name}`: {'. '.join(found.get(name, ['nothing']))}." for name in asked]


def machine() -> list[str]:
    """Return what was measured with."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"{name} not installed")
    return [
        f"- {os.cpu_count()} CPUs, {platform.system()} on {platform.machine()}, "
        f"{platform.python_implementation()} {platform.python_version()}",
        f"- {', '.join(versions)}",
    ]


def markdown(
    records: Sequence[Record], figures: Sequence[Figure], absent: Mapping[str, str], runs: int
) -> str:
    """Return the whole page."""
    lines = [
        "# Results",
        "",
        "presence-manager beside what people use today, against a Graph on this machine. The",
        "server and the contender have a core each. Contenders run by turns, each time in a new",
        "process with a new ledger. Figures are medians; measured runs of each, after a warm-up: "
        f"{runs}.",
        "Scenarios under a limit wait far more than they work: they run once, beside each other.",
        "Compare ratios, not seconds: machines differ.",
        "",
        "`make bench` repeats it and writes this page, in about twenty minutes;",
        "`make bench ARGS=--quick` prints a small one. `make bench ARGS=--help` tells the rest.",
        "",
        "![Clears per second by contender](results.svg)",
        "",
        *table(records),
        "",
        "*Wrong* are users of whom something untrue was told, by the server's own journal.",
        "*Wrong*, *left shown* and *not told of* are of all measured runs together. The best peer",
        "is the fastest one that left nobody shown. How many requests are in flight is a choice:",
        "peers and bounds have what is said below, ours begins with 8 and adapts up to 128. With",
        "50 ms that explains most of the difference.",
        "",
        "## What each got wrong",
        "",
        *mistakes(records),
        "",
    ]
    if figures:
        once = "Measured once each; `hold-many` as above, `import` as below."
        lines += ["## Ours alone", "", once, "", "| scenario | what | figure |", "|---|---|--:|"]
        lines += [f"| {each.scenario} | {each.name} | {each.shown} |" for each in figures]
        lines += [""]
    lines += ["## The scenarios", ""]
    lines += [f"- `{each.name}`: {each.about}." for each in SCENARIOS]
    lines += [f"- `{name}`: {about}." for name, about in ALONE.items()]
    lines += ["", "## The contenders", ""]
    lines += [f"- `{name}`: {text}." for name, text in WHO.items()]
    lines += [
        f"- `{name}` was left out: {module} is not installed." for name, module in absent.items()
    ]
    lines += ["", "## Measured with", "", *machine(), ""]
    return "\n".join(lines)
