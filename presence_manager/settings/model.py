"""All settings, as one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from presence_manager.errors import SettingsError
from presence_manager.settings import clouds, credentials
from presence_manager.settings.credentials import TENANTS, Credentials, Secret, TenantSettings
from presence_manager.settings.faults import allowed, fields_of, told
from presence_manager.settings.http import HttpSettings
from presence_manager.settings.sections import (
    Delegated,
    GraphSettings,
    HoldSettings,
    LedgerSettings,
    LogSettings,
    ManagedIdentity,
    RecoverySettings,
    ReleaseSettings,
    RetrySettings,
    ShutdownSettings,
)
from presence_manager.settings.sources import Azure, Given, TomlFile, Variables, kinds, variable_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting, for people: `source` is the name under which its value was given.

    A secret that is set is shown as asterisks; `source` is empty for a default.
    """

    name: str
    variable: str
    description: str
    allowed: str
    default: str | float | bool
    value: str | float | bool
    secret: bool
    source: str


class Settings(Credentials, BaseSettings):
    """All settings of presence-manager; immutable.

    Read from the arguments, then `PRESENCE_*` variables (nested with `__`), then the TOML file
    named by `PRESENCE_CONFIG`, then Azure's variables. A section is given as a dict, or as its
    class. Of the credentials (`client_secret`, `client_secret_file`, `client_certificate`,
    `federated_token_file`, `managed_identity`, `delegated`, `access_token`) only those of the
    first source that gives any are taken; `tenants` has those of single tenants.

    Raises SettingsError for whatever is wrong, with one line for each fault: the name as it was
    given, what is wrong, and what it may be.
    """

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    tenant_id: str = Field(
        default="", description="the tenant's id, a GUID: the one meant without tenant="
    )
    client_id: str = Field(default="", description="the application's (client's) id, a GUID")
    managed_identity: ManagedIdentity = Field(
        default=None,
        description="the platform's managed identity: system, or user (the one client_id names)",
    )
    delegated: Delegated = Field(
        default=None,
        description="the user of presence-manager login, whose sign-in is kept in keyring or file",
    )
    access_token: Secret = Field(
        default=SecretStr(""), description="a ready bearer token, used as it is and never renewed"
    )
    sign_in_timeout: float = Field(
        default=10.0, gt=0, le=300, description="seconds a sign-in may take"
    )
    graph: GraphSettings = GraphSettings()
    ledger: LedgerSettings = LedgerSettings()
    hold: HoldSettings = HoldSettings()
    release: ReleaseSettings = ReleaseSettings()
    retry: RetrySettings = RetrySettings()
    recovery: RecoverySettings = RecoverySettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    http: HttpSettings = HttpSettings()
    logs: LogSettings = LogSettings()
    tenants: dict[str, TenantSettings] = Field(
        default={}, description="tenants that have a credential of their own"
    )

    _names: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, **values: Any) -> None:
        """Read all sources; an argument that is None counts as not given."""
        for name in values:
            if name.startswith("_"):  # pydantic-settings' own ways in, such as _env_file
                raise SettingsError(f"argument {name}: there is no such setting")
        given = {name: _plain(value) for name, value in values.items() if value is not None}
        super().__init__(**given)

    def __eq__(self, other: object) -> bool:
        """Compare the values, wherever they came from."""
        return isinstance(other, Settings) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(tuple(v for v in self.__dict__.values() if not isinstance(v, dict)))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, the first one winning."""
        return (init_settings, Variables(settings_cls), TomlFile(settings_cls), Azure(settings_cls))

    @field_validator("tenant_id", "client_id")
    @classmethod
    def _trimmed(cls, text: str) -> str:
        return text.strip()

    @model_validator(mode="wrap")
    @classmethod
    def _judged(cls, data: Any, handler: ModelWrapValidatorHandler[Settings]) -> Settings:
        plain, names = _unwrapped(data)
        faults = []
        given = kinds(plain)
        if len(given) > 1:
            both = " and ".join(names.get(kind, kind) for kind in given)
            faults.append(f"{both}: more than one credential is given; keep one")
        faults += [*clouds.settle(plain, names), *credentials.settle(plain, names)]
        try:
            settings = handler(plain)
        except ValidationError as error:
            faults += told(cls, error, names)
        if faults:
            raise SettingsError("\n".join(faults))
        settings._names = names
        return settings

    def describe(self) -> tuple[Setting, ...]:
        """Return every setting with its meaning and its present value, secrets masked."""
        found = {
            name: (field, getattr(getattr(self, section) if section else self, key))
            for name, field in fields_of(type(self)).items()
            for section, _, key in [name.rpartition(".")]
        } | {
            f"{TENANTS}.{tenant}.{key}": (TenantSettings.model_fields[key], getattr(given, key))
            for tenant, given in self.tenants.items()
            for key in sorted(given.model_fields_set)
        }
        return tuple(
            Setting(
                name=name,
                variable=variable_of(name),
                description=field.description or "",
                allowed=allowed(field),
                default=_shown(field.default),
                value=_shown(value),
                secret=isinstance(value, SecretStr),
                source=self._names.get(name, ""),
            )
            for name, (field, value) in found.items()
        )


def _plain(value: Any) -> Any:
    """Take of a section given as its class only what was set, so that the rest may be merged."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value


def _unwrapped(data: Mapping[str, Any], above: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """Separate the values from the names under which they were given."""
    plain: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            plain[name], inner = _unwrapped(value, f"{above}{name}.")
            names |= inner
        else:
            plain[name] = _value(value, f"{above}{name}", names)
    return plain, names


def _value(value: Any, dotted: str, names: dict[str, str]) -> Any:
    if isinstance(value, Given):
        names[dotted] = value.name
        return value.value
    names[dotted] = f"argument {dotted}"
    return value


def _shown(value: Any) -> str | float | bool:
    if isinstance(value, SecretStr):
        return "********" if value.get_secret_value() else ""
    if isinstance(value, Path) or value is None:
        return str(value or "")
    return value  # type: ignore[no-any-return]
