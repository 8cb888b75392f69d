"""Microsoft's clouds by name: where Graph is in each, and who signs in to it."""

from __future__ import annotations

from typing import Any

from presence_manager.settings.sections import origin

_LOGIN_US = "https://login.microsoftonline.us"
_CLOUDS = {
    "global": ("https://graph.microsoft.com", "https://login.microsoftonline.com"),
    "usgov-l4": ("https://graph.microsoft.us", _LOGIN_US),
    "usgov-l5": ("https://dod-graph.microsoft.us", _LOGIN_US),
}
_GOVERNMENT = frozenset({_CLOUDS["usgov-l4"][0], _CLOUDS["usgov-l5"][0]})
_CHINA = frozenset({"china", "21vianet", "https://microsoftgraph.chinacloudapi.cn"})
_PLACES = ("base_url", "authority")


def settle(plain: dict[str, Any], names: dict[str, str]) -> list[str]:
    """Give `graph` the addresses of the cloud that it names; return a line for each fault.

    What is at fault is taken out of `plain`, so that it is told once.
    """
    graph = plain.get("graph")
    if not isinstance(graph, dict):
        return []
    faults = []
    for key in ("cloud", "base_url"):
        if _spelled(graph.get(key)) in _CHINA:
            del graph[key]
            faults.append(
                f"{_name(key, names)}: Microsoft Graph in China, operated by 21Vianet, cannot set "
                "or clear presence; nothing can be held there"
            )
    cloud = graph.get("cloud")
    for key, place in zip(_PLACES, _CLOUDS.get(str(cloud), ()), strict=False):
        if key not in graph:
            graph[key], names[f"graph.{key}"] = place, _name("cloud", names)
        elif _spelled(graph[key]) != place:
            faults.append(
                f"{_name('cloud', names)} and {_name(key, names)}: {cloud} has its {key} at "
                f"{place}; leave out one of the two"
            )
    if graph.get("version") == "beta" and _spelled(graph.get("base_url")) in _GOVERNMENT:
        where = _name("cloud" if cloud else "base_url", names)
        faults.append(
            f"{_name('version', names)} and {where}: the clouds of the US Government have no "
            "presence in beta; take v1.0"
        )
    return faults


def _name(key: str, names: dict[str, str]) -> str:
    return names.get(f"graph.{key}", f"graph.{key}")


def _spelled(value: object) -> str:
    """Return a cloud or an address in its one spelling; what is neither is told elsewhere."""
    text = str(value).strip().lower()
    try:
        return origin(text)
    except ValueError:
        return text
