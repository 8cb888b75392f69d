"""Settings of the sign-in: one credential of many, clouds by name, tenants with their own."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from presence_manager.errors import SettingsError
from presence_manager.settings import GraphSettings, Settings, TenantSettings

SECRET = "s3cr3t~value.that-must_not.leak"
ONE = "11111111-1111-4111-8111-11111111111a"
TWO = "22222222-2222-4222-8222-222222222222"


KINDS = {
    "client_secret": SECRET,
    "client_secret_file": "/s",
    "client_certificate": "/c",
    "federated_token_file": "/f",
    "managed_identity": "system",
    "delegated": "file",
    "access_token": SECRET,
}


def fault(**values: object) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings(**values)
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "p.toml"
    monkeypatch.setenv("PRESENCE_CONFIG", str(path))
    return path


class TestKinds:
    @pytest.mark.parametrize("kind", KINDS)
    def test_any_two_are_refused_by_name(self, kind: str) -> None:
        for other in set(KINDS) - {kind}:
            line = fault(**{kind: KINDS[kind], other: KINDS[other]})
            assert "more than one credential is given; keep one" in line
            assert kind in line
            assert other in line

    @pytest.mark.parametrize("kind", KINDS)
    def test_none_of_azures_beside_any_of_ours(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("CLIENT_SECRET", "CLIENT_CERTIFICATE_PATH", "FEDERATED_TOKEN_FILE"):
            monkeypatch.setenv(f"AZURE_{name}", "azures")
        monkeypatch.setenv("PRESENCE_CLIENT_ID", ONE)
        monkeypatch.setenv(f"PRESENCE_{kind.upper()}", KINDS[kind])
        assert "azures" not in str(Settings().model_dump())
        assert Settings().client_secret.get_secret_value() != "azures"

    def test_azures_federated_token_comes_last_and_with_its_authority(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", "/token")
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/")
        settings = Settings()
        assert settings.federated_token_file == Path("/token")
        assert settings.graph.authority == "https://login.microsoftonline.us"
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", "login.microsoftonline.us")
        assert Settings().graph.authority == "https://login.microsoftonline.us"
        for graph in ({"authority": "https://ours"}, {"cloud": "global"}):
            assert "microsoftonline.us" not in Settings(graph=graph).graph.authority
        monkeypatch.setenv("AZURE_CLIENT_ID", "theirs")
        theirs = Settings(client_id="ours")
        assert theirs.federated_token_file is None
        assert theirs.graph == GraphSettings()
        monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)
        assert Settings().federated_token_file is None

    def test_words_that_are_none_are_told_with_what_may_be(self) -> None:
        assert fault(managed_identity=ONE, client_id=ONE).startswith(
            f"argument managed_identity: '{ONE}' is not accepted; it may be system or user ("
        )
        assert "it may be keyring or file" in fault(delegated="true")
        assert Settings(managed_identity="", delegated="") == Settings.model_construct()


class TestClouds:
    @pytest.mark.parametrize(
        ("cloud", "graph", "login"),
        [
            ("global", "https://graph.microsoft.com", "https://login.microsoftonline.com"),
            ("usgov-l4", "https://graph.microsoft.us", "https://login.microsoftonline.us"),
            ("usgov-l5", "https://dod-graph.microsoft.us", "https://login.microsoftonline.us"),
        ],
    )
    def test_a_name_sets_both_addresses(
        self, cloud: str, graph: str, login: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert (found := Settings(graph={"cloud": cloud}).graph).base_url == graph
        assert found.authority == login
        monkeypatch.setenv("PRESENCE_GRAPH__CLOUD", cloud)
        settings = Settings(graph=GraphSettings(base_url=f"{graph.upper()}:443/"))
        assert (settings.graph.base_url, settings.graph.authority) == (graph, login)
        described = {each.name: each.source for each in settings.describe()}
        assert described["graph.authority"] == "PRESENCE_GRAPH__CLOUD"
        assert described["graph.base_url"] == "argument graph.base_url"

    @pytest.mark.parametrize("key", ["base_url", "authority"])
    def test_an_address_of_another_cloud_is_refused_by_both_names(
        self, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PRESENCE_GRAPH__CLOUD", "usgov-l5")
        line = fault(graph={key: "https://graph.microsoft.us"})
        assert line.startswith(f"PRESENCE_GRAPH__CLOUD and argument graph.{key}: usgov-l5 has its")
        assert line.count("\n") == 0

    @pytest.mark.parametrize(
        "graph",
        [
            {"cloud": "china"},
            {"cloud": "China"},
            {"base_url": "https://microsoftgraph.chinacloudapi.cn/"},
        ],
    )
    def test_china_is_refused_with_the_reason(self, graph: dict[str, str]) -> None:
        (key,) = graph
        assert fault(graph=graph) == (
            f"argument graph.{key}: Microsoft Graph in China, operated by 21Vianet, cannot set or "
            "clear presence; nothing can be held there"
        )

    @pytest.mark.parametrize(
        "graph", [{"cloud": "usgov-l4"}, {"base_url": "https://dod-graph.microsoft.us"}]
    )
    def test_beta_is_refused_in_the_government_clouds(self, graph: dict[str, str]) -> None:
        (key,) = graph
        line = fault(graph=graph | {"version": "beta"})
        assert line.startswith(f"argument graph.version and argument graph.{key}: ")
        assert Settings(graph={"cloud": "global", "version": "beta"}).graph.version == "beta"

    def test_other_names_are_told_with_those_there_are(self) -> None:
        line = fault(graph={"cloud": "germany", "budget": 0})
        assert "'germany' is not accepted; it may be global or usgov-l4 or usgov-l5" in line
        assert "argument graph.budget" in line


class TestTenants:
    def test_from_all_sources_in_one_spelling(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        variable = f"PRESENCE_TENANTS__{ONE.replace('-', '_').upper()}__CLIENT_SECRET"
        monkeypatch.setenv(variable, SECRET)
        config.write_text(f'[tenants."{TWO}"]\nclient_secret_file = "/s"')
        settings = Settings()
        assert settings.tenants[ONE].client_secret.get_secret_value() == SECRET
        assert settings.tenants[TWO].client_secret_file == Path("/s")
        assert SECRET not in repr(settings) + settings.model_dump_json() + str(settings.describe())
        described = {each.name: each for each in settings.describe()}
        secret = described[f"tenants.{ONE}.client_secret"]
        assert (secret.value, secret.source) == ("********", variable)
        file = described[f"tenants.{TWO}.client_secret_file"]
        assert (file.value, file.source) == ("/s", f"{config}: tenants.{TWO}.client_secret_file")

    def test_it_stays_a_value(self) -> None:
        tenants = {ONE: TenantSettings(client_secret=SECRET)}
        settings = Settings(tenants=tenants)
        assert settings == Settings(tenants={ONE.upper(): {"client_secret": SECRET}})
        assert hash(settings) == hash(Settings(tenants=tenants))
        assert settings != Settings()
        assert copy.deepcopy(settings) == pickle.loads(pickle.dumps(settings)) == settings

    @pytest.mark.parametrize(
        ("tenants", "line"),
        [
            ("x", "argument tenants: is no value; write a section for each tenant"),
            ({"contoso.com": {"client_secret": SECRET}}, "'contoso.com' is no tenant id; it is a"),
            ({ONE: SECRET}, f"argument tenants.{ONE}: is a section, not a value"),
            ({ONE: {}}, f"tenants.{ONE}: has no credential; give client_secret_file or"),
            (
                {ONE: {"client_secret": SECRET}, ONE.upper(): {"client_secret": SECRET}},
                "this tenant is given twice, in two spellings",
            ),
            (
                {ONE: {"client_id": TWO, "client_secret": SECRET}},
                f"argument tenants.{ONE}.client_id: one manager is one application, whose id is "
                "the sessionId of every session",
            ),
            (
                {ONE: {"client_secret": SECRET, "client_certificate": "/c"}},
                f"argument tenants.{ONE}.client_secret and argument tenants.{ONE}."
                "client_certificate: more than one credential is given; keep one",
            ),
            (
                {ONE: {"client_secrt": SECRET}},
                f"argument tenants.{ONE}.client_secrt: there is no such setting; did you mean "
                f"tenants.{ONE}.client_secret?",
            ),
            (
                {ONE: {"client_secret": "a b"}},
                f"argument tenants.{ONE}.client_secret: has a space, a line break",
            ),
            (
                {ONE: {"client_secret_file": 3}},
                f"argument tenants.{ONE}.client_secret_file: this is not text; it may be the path",
            ),
        ],
    )
    def test_faults_are_told_by_name(self, tenants: object, line: str) -> None:
        told = fault(tenants=tenants)
        assert line in told
        assert "\n" not in told

    def test_faults_of_a_file_and_of_variables(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config.write_text(f'[tenants."{ONE}"]\nclient_id = "x"\n[tenants."{TWO}"]\nx = 1')
        variable = "PRESENCE_TENANTS__NOBODY__CLIENT_SECRET"
        monkeypatch.setenv(variable, SECRET)
        told = fault().splitlines()
        assert len(told) == 3
        assert any(line.startswith(f"{config}: tenants.{ONE}.client_id: one") for line in told)
        assert any(line.startswith(f"{config}: tenants.{TWO}.x: there is no") for line in told)
        assert any(line.startswith(f"{variable}: 'nobody' is no") for line in told)

    @pytest.mark.parametrize(
        "alone", [{"managed_identity": "user"}, {"delegated": "file"}, {"access_token": SECRET}]
    )
    def test_what_is_of_one_tenant_goes_with_no_others(self, alone: dict[str, str]) -> None:
        line = fault(client_id=TWO, tenants={ONE: {"client_secret": SECRET}}, **alone)
        assert line.startswith(f"argument {next(iter(alone))}: it is of one tenant")
