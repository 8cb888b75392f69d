"""Settings: where they come from, which goes first, and how a fault is told."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from presence_manager.errors import SettingsError
from presence_manager.settings import GraphSettings, Settings

SECRET = "s3cr3t~value.that-must_not.leak"


def fault(**values: object) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings(**values)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "p.toml"
    monkeypatch.setenv("PRESENCE_CONFIG", str(path))
    return path


class TestSources:
    def test_the_first_one_wins_for_each_single_value(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config.write_text(
            'tenant_id = "file"\nclient_id = "file"\n[graph]\ntimeout = 1\nbudget = 2'
        )
        monkeypatch.setenv("AZURE_TENANT_ID", "azure")
        monkeypatch.setenv("PRESENCE_CLIENT_ID", "variable")
        monkeypatch.setenv("PRESENCE_GRAPH__TIMEOUT", "3")
        monkeypatch.setenv("PRESENCE_GRAPH__VERSION", "beta")
        settings = Settings(graph={"version": "v1.0"})
        assert (settings.tenant_id, settings.client_id) == ("file", "variable")
        assert (settings.graph.timeout, settings.graph.budget) == (3.0, 2)
        assert settings.graph.version == "v1.0"

    def test_a_section_given_as_its_class_leaves_the_rest_to_other_sources(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PRESENCE_GRAPH__TIMEOUT", "3")
        settings = Settings(graph=GraphSettings(budget=7))
        assert (settings.graph.timeout, settings.graph.budget) == (3.0, 7)

    def test_an_argument_that_is_none_counts_as_not_given(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PRESENCE_TENANT_ID", "variable")
        assert Settings(tenant_id=None).tenant_id == "variable"

    def test_an_empty_variable_counts_as_not_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PRESENCE_GRAPH__TIMEOUT", "")
        monkeypatch.setenv("PRESENCE_CONFIG", "")
        monkeypatch.setenv("PRESENCE_NONSENSE", "")
        assert Settings() == Settings.model_construct()

    def test_the_variables_kubernetes_makes_for_a_service_are_not_ours(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in (
            "PRESENCE_SERVICE_HOST",
            "PRESENCE_MANAGER_SERVICE_HOST",
            "PRESENCE_MANAGER_SERVICE_PORT",
            "PRESENCE_MANAGER_SERVICE_PORT_HTTP",
            "PRESENCE_PORT",
            "PRESENCE_MANAGER_PORT",
            "PRESENCE_MANAGER_PORT_8080_TCP",
            "PRESENCE_MANAGER_PORT_8080_TCP_PROTO",
            "PRESENCE_MANAGER_PORT_8080_TCP_PORT",
            "PRESENCE_MANAGER_PORT_8080_TCP_ADDR",
        ):
            monkeypatch.setenv(name, "tcp://10.0.0.1:80")
        assert Settings() == Settings.model_construct()

    def test_a_file_with_a_byte_order_mark_and_windows_line_ends(self, config: Path) -> None:
        config.write_bytes(b'\xef\xbb\xbftenant_id = "t"\r\n[graph]\r\nbudget = 2\r\n')
        assert Settings().graph.budget == 2

    def test_other_ways_of_pydantic_settings_are_closed(self) -> None:
        assert "_env_file" in fault(_env_file=".env")


class TestCredentials:
    def test_azures_are_taken_where_ours_are_not_given(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_TENANT_ID", " t ")
        monkeypatch.setenv("AZURE_CLIENT_ID", "c")
        monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
        settings = Settings()
        assert (settings.tenant_id, settings.client_id) == ("t", "c")
        assert settings.client_secret.get_secret_value() == SECRET

    def test_azures_certificate_brings_its_password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", "/c.pem")
        monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", "a b")
        settings = Settings()
        assert settings.client_certificate == Path("/c.pem")
        assert settings.client_certificate_password.get_secret_value() == "a b"

    def test_of_azures_two_the_secret_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
        monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", "/c.pem")
        monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", "a b")
        settings = Settings()
        assert settings.client_certificate is None
        assert not settings.client_certificate_password.get_secret_value()
        assert settings.client_secret.get_secret_value() == SECRET

    @pytest.mark.parametrize("kind", ["client_secret", "client_certificate", "access_token"])
    def test_none_of_azures_beside_any_of_ours(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_CLIENT_SECRET", "azure")
        monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", "/azure.pem")
        monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", "azure")
        for settings in (Settings(**{kind: "ours"}), self._by_variable(kind, monkeypatch)):
            assert "azure" not in str(settings.model_dump(mode="python"))
            assert settings.client_secret.get_secret_value() != "azure"
            assert settings.client_certificate_password.get_secret_value() == ""
            assert settings.client_certificate in (None, Path("ours"))

    @staticmethod
    def _by_variable(kind: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
        monkeypatch.setenv("PRESENCE_" + kind.upper(), "ours")
        return Settings()

    def test_azures_secret_is_not_taken_for_another_application(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_CLIENT_ID", "theirs")
        monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
        assert not Settings(client_id="ours").client_secret.get_secret_value()
        assert Settings(client_id="THEIRS").client_secret.get_secret_value() == SECRET
        monkeypatch.delenv("AZURE_CLIENT_ID")
        assert Settings(client_id="ours").client_secret.get_secret_value() == SECRET

    def test_they_come_whole_from_the_first_source(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config.write_text(f'client_secret = "{SECRET}"')
        monkeypatch.setenv("PRESENCE_CLIENT_CERTIFICATE", "/c.pem")
        settings = Settings(access_token="token")
        assert settings.client_certificate is None
        assert not settings.client_secret.get_secret_value()
        settings = Settings()
        assert settings.client_certificate == Path("/c.pem")
        assert not settings.client_secret.get_secret_value()

    def test_a_password_may_come_from_elsewhere_than_its_certificate(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config.write_text('client_certificate = "/c.pem"')
        monkeypatch.setenv("PRESENCE_CLIENT_CERTIFICATE_PASSWORD", "p")
        assert Settings().client_certificate_password.get_secret_value() == "p"
        config.write_text('client_certificate_password = "p"')
        monkeypatch.delenv("PRESENCE_CLIENT_CERTIFICATE_PASSWORD")
        settings = Settings(client_certificate="/d.pem")
        assert settings.client_certificate_password.get_secret_value() == "p"

    def test_two_at_once_are_refused_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PRESENCE_CLIENT_SECRET", SECRET)
        monkeypatch.setenv("PRESENCE_ACCESS_TOKEN", SECRET)
        assert fault() == (
            "PRESENCE_CLIENT_SECRET and PRESENCE_ACCESS_TOKEN: more than one credential is given; "
            "keep one"
        )

    @pytest.mark.parametrize("name", ["client_secret", "access_token"])
    def test_line_ends_around_a_secret_are_dropped_and_inside_refused(self, name: str) -> None:
        secret = getattr(Settings(**{name: f"{SECRET}\r\n"}), name)
        assert secret.get_secret_value() == SECRET
        for bad in (f"{SECRET}\n{SECRET}", f"{SECRET} {SECRET}", f"{SECRET}é", f"{SECRET}\0x"):
            assert fault(**{name: bad}).startswith(f"argument {name}: has a space, a line break")

    def test_nothing_shows_a_secret(self) -> None:
        settings = Settings(client_secret=SECRET, client_certificate_password=SECRET)
        shown = [
            repr(settings),
            str(settings),
            str(settings.describe()),
            str(settings.model_dump()),
        ]
        assert not [text for text in (*shown, settings.model_dump_json()) if SECRET in text]


class TestFaults:
    @pytest.mark.parametrize(
        ("name", "value", "line"),
        [
            (
                "PRESENCE_GRPAH__BASE_URL",
                "x",
                "there is no such setting; did you mean PRESENCE_GRAPH__BASE_URL?",
            ),
            (
                "PRESENCE_GRAPH_BASE_URL",
                "x",
                "there is no such setting; did you mean PRESENCE_GRAPH__BASE_URL?",
            ),
            (
                "PRESENCE_GRAPH__DEADLINE",
                "1",
                "there is no such setting; did you mean PRESENCE_SHUTDOWN__DEADLINE?",
            ),
            (
                "PRESENCE_TENANT_ID__X",
                "1",
                "there is no such setting; did you mean PRESENCE_TENANT_ID?",
            ),
            ("PRESENCE_X", "1", "there is no such setting; config/presence.toml has them all"),
            ("PRESENCE_", "1", "there is no such setting; config/presence.toml has them all"),
            (
                "PRESENCE_SHUTDOWN",
                "8",
                "is a section, not a value; its settings are PRESENCE_SHUTDOWN__POLICY, "
                "PRESENCE_SHUTDOWN__DEADLINE",
            ),
            (
                "PRESENCE_SHUTDOWN__DEADLINE",
                "soon",
                "'soon' is not accepted; it may be a number from 0, up to 86400 (seconds the "
                "closing sweep may take)",
            ),
            (
                "PRESENCE_GRAPH__BUDGET",
                "1.5",
                "'1.5' is not accepted; it may be auto or a whole number from 1, up to 1000000 "
                "(requests per window, application and tenant)",
            ),
            (
                "PRESENCE_LOGS__LEVEL",
                "loud",
                "'loud' is not accepted; it may be debug or info or warning or error (least level)",
            ),
            (
                "PRESENCE_LOGS__HASH_USERS",
                "7",
                "'7' is not accepted; it may be true or false "
                "(whether user ids are hashed in logs)",
            ),
        ],
    )
    def test_of_a_variable(
        self, name: str, value: str, line: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, value)
        assert fault() == f"{name}: {line}"

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("[graph]\nverison = 1", "graph.verison: there is no such setting; did you mean "
             "graph.version?"),
            ("tennant_id = 1", "tennant_id: there is no such setting; did you mean tenant_id?"),
            ("[shutdwon]\nx = 1", "shutdwon: there is no such setting; did you mean shutdown?"),
            ("shutdown = 1", "shutdown: is a section, not a value; its settings are "
             "shutdown.policy, shutdown.deadline"),
            ("tenant_id = 1", "tenant_id: this is not text; it may be text (the tenant's id, a "
             "GUID: the one meant without tenant=)"),
            ("[graph.budget]\nx = 1", "graph.budget: {'x': 1} is not accepted; it may be auto "
             "or a whole number from 1, up to 1000000 (requests per window, application "
              "and tenant)"),
            ("[graph]\ntimeout = nan", "graph.timeout: nan is not accepted; it may be a number "
             "above 0, up to 300 (seconds one HTTP request may take)"),
            ('"a\\nb" = 1', "'{path}: a\\nb': there is no such setting; config/presence.toml has "
             "them all"),
        ],
    )  # fmt: skip
    def test_of_a_file(self, text: str, line: str, config: Path) -> None:
        config.write_text(text)
        assert fault() == (line.replace("{path}", str(config)) if "{path}" in line
                           else f"{config}: {line}")  # fmt: skip

    def test_of_arguments(self) -> None:
        assert fault(tennant_id="x", graph={"budget": 0}, hold=3).splitlines() == [
            "argument graph.budget: 0 is not accepted; it may be auto or a whole number from 1, "
            "up to 1000000 (requests per window, application and tenant)",
            "argument hold: is a section, not a value; its settings are hold.lease, hold.timeout, "
            "hold.max_age",
            "argument tennant_id: there is no such setting; did you mean tenant_id?",
        ]
        assert fault(client_certificate=3) == (
            "argument client_certificate: this is not text; it may be the path of a file "
            "(certificate with private key to sign in with: PEM or PFX file)"
        )

    def test_all_are_told_at_once(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config.write_text("x = 1\n[graph]\nbudget = 0")
        monkeypatch.setenv("PRESENCE_Y", SECRET)
        monkeypatch.setenv("PRESENCE_CLIENT_SECRET", "a b")
        names = [line.partition(": ")[0] for line in fault(z=SECRET).splitlines()]
        assert set(names) == {str(config), "PRESENCE_Y", "PRESENCE_CLIENT_SECRET", "argument z"}
        assert len(names) == 5

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"\x7fELF\xff\xfe", "it is not a text file in UTF-8"),
            (b"a = ", "it is not TOML: Invalid value"),
            (b"[graph]\n[graph]\n", "it is not TOML: Cannot declare"),
            (b"a = " + b"[" * 100_000, "it is not TOML: "),
            (None, "No such file or directory"),
        ],
    )
    def test_of_an_unreadable_file(self, content: bytes | None, why: str, config: Path) -> None:
        if content is not None:
            config.write_bytes(content)
        text = fault()
        assert text.startswith(f"PRESENCE_CONFIG: cannot use {config}: {why}")
        assert "\n" not in text

    def test_of_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PRESENCE_CONFIG", str(tmp_path))
        assert fault() == f"PRESENCE_CONFIG: cannot use {tmp_path}: Is a directory"


class TestBounds:
    @pytest.mark.parametrize(
        ("name", "inside", "outside"),
        [
            ("graph.timeout", (0.1, 300), (0, -1, 300.1, "inf", "nan")),
            ("graph.connect_timeout", (0.1, 60), (0, 60.1)),
            ("graph.budget", (1, 1_000_000), (0, 1_000_001, 1.5)),
            ("graph.budget_window", (0.1, 3600), (0, 3601)),
            ("graph.in_flight", (1, 128), (0, 129)),
            ("ledger.busy_timeout", (0.1, 60), (0, 61)),
            ("ledger.keep_outcomes", (0.1, 3650), (0, 3651)),
            ("hold.lease", (300, 14400), (299.9, 14400.1)),
            ("hold.timeout", (0.1, 3600), (0, 3601)),
            ("hold.max_age", (1, 31_536_000), (0, 31_536_001)),
            ("release.timeout", (0.1, 3600), (0, 3601)),
            ("retry.attempts", (1, 1000), (0, 1001)),
            ("retry.first_wait", (0, 60), (-0.1, 61)),
            ("retry.longest_wait", (0.1, 3600), (0, 3601)),
            ("retry.margin", (1, 600), (0.9, 601)),
            ("retry.settle", (0, 600), (-1, 601)),
            ("recovery.watch", (0.1, 3600), (0, 3601)),
            ("recovery.retry", (0.1, 3600), (0, 3601)),
            ("shutdown.deadline", (0, 86400), (-1, 86401)),
            ("sign_in_timeout", (0.1, 300), (0, 301)),
        ],
    )
    def test_of_numbers(self, name: str, inside: tuple[float], outside: tuple[float]) -> None:
        section, _, key = name.rpartition(".")
        for value in inside:
            settings = Settings(**({section: {key: value}} if section else {key: value}))
            assert getattr(getattr(settings, section) if section else settings, key) == value
        for value in outside:
            values = {section: {key: value}} if section else {key: value}
            assert fault(**values).startswith(f"argument {name}: ")

    @pytest.mark.parametrize("key", ["base_url", "authority"])
    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("https://graph.microsoft.us", "https://graph.microsoft.us"),
            (" HTTPS://Graph.Microsoft.com:443/ \n", "https://graph.microsoft.com"),
            ("https://host:8443", "https://host:8443"),
            ("https://host:80", "https://host:80"),
            ("http://localhost:80", "http://localhost"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://127.9.9.9:1", "http://127.9.9.9:1"),
            ("http://[::1]:65535", "http://[::1]:65535"),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
        ],
    )
    def test_an_origin_has_one_spelling(self, key: str, given: str, kept: str) -> None:
        assert getattr(Settings(graph={key: given}).graph, key) == kept

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("", "must be an address such as https://host"),
            ("graph.microsoft.com", "must be an address such as https://host"),
            ("ftp://host", "must be an address such as https://host"),
            ("https://", "must be an address such as https://host"),
            ("https://:443", "must be an address such as https://host"),
            ("https://host:0", "must be an address such as https://host"),
            ("https://host:65536", "must be an address such as https://host"),
            ("https://host:x", "must be an address such as https://host"),
            ("https://[::1", "must be an address such as https://host"),
            ("https://ho st", "must be an address such as https://host"),
            ("https://host\\@evil", "must be an address alone"),
            ("https://host\\evil", "must be an address such as https://host"),
            ("https://bücher", "must be an address such as https://host"),
            (f"https://u:{SECRET}@ho\u2100st", "must be an address such as https://host"),
            ("http://graph.microsoft.com", "plain http is accepted for this machine only"),
            ("http://localhost.evil.com", "plain http is accepted for this machine only"),
            ("http://128.0.0.1", "plain http is accepted for this machine only"),
            ("http://0.0.0.0", "plain http is accepted for this machine only"),
            (f"https://user:{SECRET}@host", "must be an address alone"),
            ("https://@host", "must be an address alone"),
            ("https://host?", "must be an address alone"),
            ("https://host?x=1", "must be an address alone"),
            ("https://host#x", "must be an address alone"),
            ("https://host/v1.0", "must end with the host or port: no path"),
            ("https://host//", "must end with the host or port: no path"),
        ],
    )
    def test_anything_but_an_origin_is_refused(self, url: str, why: str) -> None:
        assert fault(graph={"base_url": url}).startswith(f"argument graph.base_url: {why}")

    @pytest.mark.parametrize("url", ["", "memory://", "sqlite:///x.db", "sqlite:////var/x.db"])
    def test_the_ledgers_there_are(self, url: str) -> None:
        assert Settings(ledger={"url": url}).ledger.url == url

    @pytest.mark.parametrize(
        "url", ["x.db", "sqlite:///", "sqlite://x", "postgres://h/d", "memory"]
    )
    def test_the_ledgers_there_are_not(self, url: str) -> None:
        assert fault(ledger={"url": url}).startswith("argument ledger.url: must be sqlite:///path")

    def test_paths(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/me")
        assert Settings(graph={"ca_file": "~/ca.pem"}).graph.ca_file == Path("/home/me/ca.pem")
        assert Settings(graph={"ca_file": ""}).graph.ca_file is None
        odd = Path("~nobody-of-that-name/ca.pem")
        assert Settings(graph={"ca_file": odd}).graph.ca_file == odd


class TestValue:
    def test_it_is_immutable(self) -> None:
        settings = Settings()
        with pytest.raises(ValidationError):
            settings.tenant_id = "x"  # type: ignore[misc]
        with pytest.raises(ValidationError):
            settings.graph.budget = 1  # type: ignore[misc]

    def test_it_is_a_value(self, monkeypatch: pytest.MonkeyPatch) -> None:
        by_argument = Settings(tenant_id="t")
        monkeypatch.setenv("PRESENCE_TENANT_ID", "t")
        assert Settings() == by_argument
        assert hash(Settings()) == hash(by_argument)
        assert Settings(graph={"budget": 1}) != by_argument
        assert by_argument != "t"
        assert copy.deepcopy(by_argument) == pickle.loads(pickle.dumps(by_argument)) == by_argument

    def test_it_describes_itself(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config.write_text("[graph]\nca_file = '/ca.pem'")
        monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
        monkeypatch.setenv("PRESENCE_GRAPH__BUDGET", "7")
        described = {each.name: each for each in Settings(tenant_id="t").describe()}
        sources = {name: each.source for name, each in described.items() if each.source}
        assert sources == {
            "tenant_id": "argument tenant_id",
            "client_secret": "AZURE_CLIENT_SECRET",
            "graph.budget": "PRESENCE_GRAPH__BUDGET",
            "graph.ca_file": f"{config}: graph.ca_file",
        }
        budget = described["graph.budget"]
        assert (budget.variable, budget.default, budget.value) == (
            "PRESENCE_GRAPH__BUDGET",
            "auto",
            7,
        )
        assert budget.allowed == "auto or a whole number from 1, up to 1000000"
        secret = described["client_secret"]
        assert (secret.secret, secret.default, secret.value) == (True, "", "********")
        assert described["access_token"].value == ""
        assert described["graph.ca_file"].value == "/ca.pem"
        assert all(each.description for each in described.values())
