"""The files for systemd, Docker and Kubernetes: they agree with the settings, the API and the CLI.

What checks them as their platform would is used where it is installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from presence_manager import Settings, SettingsError
from presence_manager.hosts.api.routes import ROUTES
from presence_manager.hosts.api.serve import LAST_ANSWERS
from presence_manager.hosts.api.tokens import tokens_of
from presence_manager.hosts.cli import asking
from presence_manager.hosts.cli.app import app
from presence_manager.hosts.cli.times import seconds
from presence_manager.hosts.daemon import LAST_WORD
from presence_manager.manager.closing import PATIENCE

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config"
UNIT = CONFIG / "presence-manager.service"
DOCKERFILE = CONFIG / "Dockerfile"
MANIFESTS = sorted((CONFIG / "kubernetes").glob("*.yaml"))
AFTER_THE_SWEEP = PATIENCE + LAST_WORD + LAST_ANSWERS


def settings_of(environment: dict[str, str], patch: pytest.MonkeyPatch) -> Settings:
    """The settings of a process that has these variables and no file."""
    for name, value in environment.items():
        if name != "PRESENCE_CONFIG":
            patch.setenv(name, value)
    return Settings()


def understood(words: list[str]) -> dict[str, Any]:
    """Have the command line parse these words; return what the command would get."""
    name, *rest = words
    command: Any = typer.main.get_command(app)
    return command.commands[name].make_context(name, rest).params


def checked_by(program: str, *words: str) -> None:
    """Let a program judge, if it is there."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    run = subprocess.run([found, *words], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr


# -- systemd ----------------------------------------------------------------------------------


@pytest.fixture
def unit() -> dict[str, list[str]]:
    """Every value of the unit, by its name."""
    values: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(name, []).append(
                value.replace("%S", "/var/lib").replace("%t", "/run")
            )
    return values


def test_the_unit_agrees_with_the_settings(
    unit: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(each.split("=", 1) for each in unit["Environment"])
    found = settings_of(environment, monkeypatch)
    [stop], [watchdog] = unit["TimeoutStopSec"], unit["WatchdogSec"]
    assert int(stop) > found.shutdown.deadline + AFTER_THE_SWEEP
    assert int(watchdog) / 2 > found.ledger.busy_timeout
    assert found.ledger.url == f"sqlite:////var/lib/{unit['StateDirectory'][0]}/ledger.db"
    [copy] = unit["ExecStartPre"]
    assert str(found.client_secret_file) == copy.split()[-1]
    assert str(found.client_secret_file).startswith(f"/run/{unit['RuntimeDirectory'][0]}/")
    [credential] = unit["LoadCredential"]
    assert f"%d/{credential.partition(':')[0]}" in copy
    binary = "/opt/presence-manager/bin/presence-manager "
    for each in (*unit["ExecStart"], *unit["ExecStopPost"]):
        assert each.startswith(binary)
        understood(each.removeprefix(binary).split())
    [recover] = unit["ExecStopPost"]
    deadline = understood(recover.removeprefix(binary).split())["deadline"]
    assert int(stop) > seconds(deadline, "") + AFTER_THE_SWEEP


@pytest.mark.parametrize("how", ["verify --man=no", "security --offline=true --threshold=20"])
def test_systemd_takes_the_unit(how: str, tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/presence-manager/bin", str(tmp_path)))
    (tmp_path / "presence-manager").symlink_to(sys.executable)  # verify wants a program to be there
    checked_by("systemd-analyze", *how.split(), str(copy))


# -- Docker -----------------------------------------------------------------------------------


@pytest.fixture
def dockerfile() -> list[tuple[str, str]]:
    """Each instruction and what it is given."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(each.split(None, 1)[0], each.split(None, 1)[1]) for each in lines if each]


def image_variables(dockerfile: list[tuple[str, str]]) -> dict[str, str]:
    [given] = [rest for name, rest in dockerfile if name == "ENV"]
    return dict(each.split("=", 1) for each in given.split())


def test_the_image_is_what_it_says(dockerfile: list[tuple[str, str]]) -> None:
    given = dict(dockerfile)  # the last of each counts
    assert given["USER"] == "10001:10001"
    assert given["STOPSIGNAL"] == "SIGTERM"
    ledger = Path(image_variables(dockerfile)["PRESENCE_LEDGER__URL"].removeprefix("sqlite:///"))
    assert given["VOLUME"] == str(ledger.parent)
    assert any("-o 10001" in rest and given["VOLUME"] in rest for _, rest in dockerfile)
    assert given["EXPOSE"] == Settings().http.listen.rpartition(":")[2]
    [entry], words = json.loads(given["ENTRYPOINT"]), json.loads(given["CMD"])
    assert entry == "presence-manager"
    understood(words)
    probe = json.loads(given["HEALTHCHECK"].partition("CMD ")[2])
    assert probe.pop(0) == entry
    understood(probe)


def test_the_image_is_built_of_what_is_there(dockerfile: list[tuple[str, str]]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {"pyproject.toml", project["project"]["readme"], *wheel}
    needed.add(project["project"]["license"]["file"])
    copied = [rest.split()[:-1] for name, rest in dockerfile if name == "COPY" and "--" not in rest]
    assert {each for some in copied for each in some} == needed
    ignored = (CONFIG / "Dockerfile.dockerignore").read_text().splitlines()
    assert {each[1:] for each in ignored if each.startswith("!")} == needed
    [python] = {rest.split()[0] for name, rest in dockerfile if name == "FROM"}
    version = re.fullmatch(r"python:(3\.\d+)-slim", python)
    assert version is not None
    assert f"Programming Language :: Python :: {version[1]}" in project["project"]["classifiers"]


def test_hadolint_takes_the_dockerfile() -> None:
    checked_by("hadolint", str(DOCKERFILE))


# -- Kubernetes -------------------------------------------------------------------------------


class Manifest:
    """The objects of one file, and the daemon's container in it."""

    def __init__(self, path: Path) -> None:
        self.objects = {each["kind"]: each for each in yaml.safe_load_all(path.read_text())}
        self.pod: dict[str, Any] = self.objects["Deployment"]["spec"]["template"]["spec"]
        self.containers = [*self.pod.get("initContainers", ()), *self.pod["containers"]]
        [self.daemon] = [each for each in self.containers if each["name"] == "presence-manager"]
        self.environment = {each["name"]: each["value"] for each in self.daemon["env"]}

    def probes(self) -> Iterator[dict[str, Any]]:
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            yield self.daemon[name]

    def volume_at(self, path: str) -> dict[str, Any]:
        [name] = [m["name"] for m in self.daemon["volumeMounts"] if path.startswith(m["mountPath"])]
        [volume] = [each for each in self.pod["volumes"] if each["name"] == name]
        return volume


@pytest.fixture(params=MANIFESTS, ids=lambda path: path.stem)
def manifest(request: pytest.FixtureRequest) -> Manifest:
    return Manifest(request.param)


def test_the_grace_fits_the_deadline(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain that cannot end, and then a closing sweep that cannot end, are over in time."""
    found = settings_of(manifest.environment, monkeypatch)
    drain = manifest.daemon["lifecycle"]["preStop"]["exec"]["command"]
    assert understood(drain[1:])["deadline"] is None  # the one of the settings
    both = 2 * found.shutdown.deadline + asking.PATIENCE + AFTER_THE_SWEEP
    assert manifest.pod["terminationGracePeriodSeconds"] > both


def test_the_probes_reach_the_daemon(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    host, _, port = settings_of(manifest.environment, monkeypatch).http.listen.rpartition(":")
    public = {route.path for route in ROUTES if route.public}
    for probe in manifest.probes():
        if host == "127.0.0.1":  # which the kubelet does not reach
            program, *words = probe["exec"]["command"]
            assert program == "presence-manager"
            understood(words)
        else:
            assert probe["httpGet"]["path"] in public
            [open_] = manifest.daemon["ports"]
            assert probe["httpGet"]["port"] == open_["name"]
            assert open_["containerPort"] == int(port)
    if host != "127.0.0.1":
        [service] = manifest.objects["Service"]["spec"]["ports"]
        assert service["targetPort"] == manifest.daemon["ports"][0]["name"]
        assert "PRESENCE_HTTP__TOKENS_FILE" in manifest.environment
    understood(manifest.daemon["args"])


def test_its_files_are_mounted(manifest: Manifest, dockerfile: list[tuple[str, str]]) -> None:
    """The ledger of the image, and the secrets that its settings name."""
    ledger = image_variables(dockerfile)["PRESENCE_LEDGER__URL"].removeprefix("sqlite:///")
    assert manifest.volume_at(ledger).keys() & {"persistentVolumeClaim", "emptyDir"}
    keys = manifest.objects["Secret"]["stringData"]
    secrets = [path for name, path in manifest.environment.items() if name.endswith("_FILE")]
    assert {Path(path).name for path in secrets} == keys.keys()
    for path in secrets:
        named = manifest.volume_at(path)["secret"]["secretName"]
        assert named == manifest.objects["Secret"]["metadata"]["name"]


def test_nothing_runs_with_more_rights_than_it_needs(
    manifest: Manifest, dockerfile: list[tuple[str, str]]
) -> None:
    """What the namespace level `restricted` asks for, and a root that is read-only."""
    rights = manifest.pod["securityContext"]
    assert rights["runAsNonRoot"] is True
    assert f"{rights['runAsUser']}:{rights['runAsGroup']}" == dict(dockerfile)["USER"]
    assert rights["fsGroup"] == rights["runAsGroup"]
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in manifest.containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_tokens_that_nobody_has_replaced_are_refused(tmp_path: Path) -> None:
    secret = Manifest(CONFIG / "kubernetes/deployment.yaml").objects["Secret"]
    file = tmp_path / "tokens"
    file.write_text(secret["stringData"]["tokens"])
    with pytest.raises(SettingsError, match="16 characters"):
        tokens_of(Settings(http={"tokens_file": str(file)}).http)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_kubeconform_takes_the_manifests(path: Path) -> None:
    checked_by("kubeconform", "-strict", str(path))
