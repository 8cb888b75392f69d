"""results.svg: clears per second by contender, without and with latency."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from math import log10

from benchmarks.runner import Record
from benchmarks.scenarios import BOUNDS, CONTENDERS

PANELS = {"no-latency": "Graph answers at once", "latency-50ms": "Graph answers after 50 ms"}
USERS = 10_000
LEFT, WIDTH, GAP = 132, 300, 76
TOP, ROW, BAR = 84, 30, 18
STYLE = """
  .back { fill: #ffffff; } line { stroke: #d8dee4; }
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 16px; font-weight: 600; }
  .soft { fill: #656d76; font-size: 12px; }
  .bold { font-weight: 600; }
  .value { paint-order: stroke; stroke: #ffffff; stroke-width: 5px; }
  .ours { fill: #0969da; } .peer { fill: #8c959f; } .bound { fill: #d0d7de; }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117; } line { stroke: #30363d; }
    text { fill: #e6edf3; } .soft { fill: #9198a1; } .value { stroke: #0d1117; }
    .ours { fill: #4493f8; } .peer { fill: #6e7681; } .bound { fill: #3d444d; }
  }
"""


def speeds(records: Iterable[Record], scenario: str) -> dict[str, float]:
    """Return the clears per second of each contender that came to an end."""
    return {
        each.contender: USERS / each.figure("seconds")
        for each in records
        if each.scenario == scenario and each.runs
    }


def svg(records: list[Record]) -> str:
    """Return the chart; empty when there is nothing to show."""
    found = {name: speeds(records, name) for name in PANELS}
    names = [each for each in CONTENDERS if any(each in panel for panel in found.values())]
    if not names:
        return ""
    names.sort(key=lambda name: -max(panel.get(name, 0.0) for panel in found.values()))
    every = [speed for panel in found.values() for speed in panel.values()]
    low, high = int(log10(min(every))), int(log10(max(every))) + 1
    bottom = TOP + ROW * len(names)
    width, height = LEFT + 2 * WIDTH + GAP + 74, bottom + 54
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-labelledby="title">',
        '<title id="title">Clears per second by contender, on a logarithmic scale</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="back" width="{width}" height="{height}"/>',
        '<text class="title" x="16" y="28">Clears per second, 10,000 users</text>',
        f'<text class="soft" x="16" y="{height - 14}">Logarithmic scale; longer is better. '
        "floor and raw are bounds, no peers: no retries, no record.</text>",
    ]
    for row, name in enumerate(names):
        y = TOP + ROW * row + 14
        bold = ' class="bold"' if name == "ours" else ""
        parts.append(f'<text{bold} x="{LEFT - 10}" y="{y}" text-anchor="end">{escape(name)}</text>')
    for panel, (scenario, title) in enumerate(PANELS.items()):
        parts += _panel(LEFT + panel * (WIDTH + GAP), title, names, found[scenario], (low, high))
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    left: int, title: str, names: list[str], found: dict[str, float], scale: tuple[int, int]
) -> list[str]:
    low, high = scale
    bottom = TOP + ROW * len(names)

    def x(speed: float) -> float:
        return left + (log10(speed) - low) / (high - low) * WIDTH

    parts = [f'<text class="bold" x="{left}" y="{TOP - 24}">{escape(title)}</text>']
    for power in range(low, high + 1):
        at = x(10**power)
        text = f"{10**power:,}" if power < 6 else f"{10 ** (power - 6)} M"
        parts.append(f'<line x1="{at:.1f}" y1="{TOP - 10}" x2="{at:.1f}" y2="{bottom}"/>')
        parts.append(
            f'<text class="soft" x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>'
        )
    for row, name in enumerate(names):
        y = TOP + ROW * row
        if name not in found:
            parts.append(f'<text class="soft" x="{left + 6}" y="{y + 14}">failed</text>')
            continue
        end = x(found[name])
        kind = "ours" if name == "ours" else "bound" if name in BOUNDS else "peer"
        parts.append(
            f'<rect class="{kind}" x="{left}" y="{y}" width="{end - left:.1f}" height="{BAR}" '
            'rx="2"/>'
        )
        kind = "value bold" if name == "ours" else "value"
        value = f"{found[name]:,.0f}"
        parts.append(f'<text class="{kind}" x="{end + 6:.1f}" y="{y + 14}">{value}</text>')
    return parts
