"""`mesh.toml`: what the mesh may use and spend. Unknown keys are errors that name the key and its line."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tiermesh_chassis.config_lines import Loc, line_of
from tiermesh_chassis.errors import ConfigError
from tiermesh_contracts.budget import LIMIT_USD_NANOS_MAX, USD_NANOS, ScopeKind, Window
from tiermesh_contracts.escalations import ATTEMPTS_MAX, ModelRef
from tiermesh_contracts.frontier import LimitField
from tiermesh_contracts.requests import NAME_PATTERN, Name, Privacy


def _exact(value: object) -> object:
    """TOML numbers become decimals by their digits: 0.1 is a tenth, not the nearest double."""
    return Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


Usd = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ProviderModel(Section):
    """One model of a provider. Prices are dollars per million tokens; absent, the price table is asked."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    input_usd_per_mtok: Usd | None = None
    cached_input_usd_per_mtok: Usd | None = None
    output_usd_per_mtok: Usd | None = None
    context_tokens: Annotated[int, Field(ge=1)] = 128_000

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.input_usd_per_mtok is None) != (self.output_usd_per_mtok is None):
            raise ValueError("give both input_usd_per_mtok and output_usd_per_mtok, or neither")
        return self


class Provider(Section):
    name: Name
    kind: Literal["openai", "openai-compatible"] = "openai-compatible"
    base_url: Annotated[str, StringConstraints(pattern=r"^https?://")]
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; the key itself never stands in a file."""
    models: Annotated[tuple[ProviderModel, ...], Field(min_length=1)]
    preference: int = 0
    """Lower is asked first; ties go by order in the file."""
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0

    @property
    def limit_field(self) -> LimitField:
        return "max_completion_tokens" if self.kind == "openai" else "max_tokens"

    @property
    def is_loopback(self) -> bool:
        host = urlsplit(self.base_url).hostname or ""
        return re.fullmatch(r"127\.\d+\.\d+\.\d+|localhost|::1", host) is not None


class Budget(Section):
    """A limit. `scope` is `org`, a kind (`tenant`: each tenant), or one of a kind (`tenant:acme`)."""

    scope: Annotated[str, StringConstraints(pattern=r"^(org|(tenant|project|model|root)(:\S{1,128})?)$")]
    window: Window
    limit_usd: Usd
    pacing: Literal["none"] = "none"

    @model_validator(mode="after")
    def _exact_in_the_store(self) -> Self:
        if self.limit_usd_nanos > LIMIT_USD_NANOS_MAX:
            raise ValueError(
                "limit_usd is above 9,000,000: the store's numbers are exact only to 2^53 nano-dollars"
            )
        if self.limit_usd * USD_NANOS != self.limit_usd_nanos:
            raise ValueError("limit_usd has more than nine decimal places")
        return self

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        kind, _, key = self.scope.partition(":")
        if kind in {ScopeKind.TENANT, ScopeKind.PROJECT} and key and not re.fullmatch(NAME_PATTERN, key):
            raise ValueError(f"scope {self.scope!r}: no {kind} can have that name ({NAME_PATTERN})")
        return self

    @property
    def kind(self) -> ScopeKind:
        return ScopeKind(self.scope.partition(":")[0])

    @property
    def limit_usd_nanos(self) -> int:
        return int(self.limit_usd * USD_NANOS)


class Routing(Section):
    frontier: Annotated[tuple[str, ...], Field(max_length=ATTEMPTS_MAX)] | None = None
    """Models to ask, as `provider/model`, in order; absent: every model, by preference."""


class PrivacyPolicy(Section):
    default: Privacy = Privacy.LOCAL_ONLY


class Limits(Section):
    in_flight_max: Annotated[int, Field(ge=1, le=10_000)] = 256
    """Records in work at once, in each service."""
    provider_calls_max: Annotated[int, Field(ge=1, le=10_000)] = 64
    batch_tokens_max: Annotated[int, Field(ge=64, le=1_000_000)] = 16_384
    parked_bytes_per_tenant_max: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024


class MeshConfig(Section):
    org: Name = "default"
    providers: tuple[Provider, ...] = ()
    budgets: tuple[Budget, ...] = ()
    routing: Routing = Routing()
    privacy: PrivacyPolicy = PrivacyPolicy()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        if (twin := _second([p.name for p in self.providers])) is not None:
            raise _wrong("two providers have the same name", "providers", twin)
        if (twin := _second([(b.scope, b.window) for b in self.budgets])) is not None:
            raise _wrong("two budgets have the same scope and window", "budgets", twin)
        known = {str(ref) for ref in self._all_models()}
        for name in self.routing.frontier or ():
            if name not in known:
                raise _wrong(f"names {name!r}, which no provider has", "routing", "frontier")
        for at, budget in enumerate(self.budgets):
            model = budget.scope.partition(":")[2]
            if budget.kind is ScopeKind.MODEL and model and model not in known:
                raise _wrong(f"names {model!r}, which no provider has", "budgets", at, "scope")
        return self

    def _all_models(self) -> Iterator[ModelRef]:
        for provider in sorted(self.providers, key=lambda p: p.preference):
            for model in provider.models:
                yield ModelRef(provider=provider.name, model=model.name)

    @property
    def frontier_candidates(self) -> tuple[ModelRef, ...]:
        """The models to ask, in the policy's order."""
        by_name = {str(ref): ref for ref in self._all_models()}
        if self.routing.frontier is None:
            return tuple(by_name.values())[:ATTEMPTS_MAX]
        return tuple(by_name[name] for name in self.routing.frontier)

    def provider(self, name: str) -> Provider | None:
        return next((p for p in self.providers if p.name == name), None)

    def model(self, ref: ModelRef) -> ProviderModel | None:
        provider = self.provider(ref.provider)
        return next((m for m in provider.models if m.name == ref.model), None) if provider else None


def _second(names: Sequence[object]) -> int | None:
    """Position of the first that was there before."""
    return next((i for i, name in enumerate(names) if name in names[:i]), None)


def _wrong(message: str, *at: str | int) -> PydanticCustomError:
    """An error of the whole file that says where in it: a validator's own place is the whole."""
    return PydanticCustomError("wrong", "{message}", {"message": message, "at": at})


def parse_config(text: str, where: str) -> MeshConfig:
    """Raises `ConfigError`: one line with the key, the file and the line it stands on."""
    try:
        return MeshConfig.model_validate(tomllib.loads(text, parse_float=Decimal))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(_explain(error, text, where)) from error


def load_config(path: Path) -> MeshConfig:
    """Raises `ConfigError` where the file is missing, unreadable or wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} (TIERMESH_CONFIG) cannot be read: {error}") from error
    return parse_config(text, str(path))


def _explain(error: ValidationError, text: str, where: str) -> str:
    first: Any = error.errors()[0]
    loc: Loc = (*first["loc"], *first.get("ctx", {}).get("at", ()))
    key = ".".join(str(part) for part in loc) or "the file"
    line = line_of(loc, text)
    place = f"{where}, line {line}" if line else where
    match first["type"]:
        case "extra_forbidden":
            return f"{place}: unknown key {key!r}"
        case "missing":
            return f"{place}: key {key!r} is missing"
        case _:
            return f"{place}: {key}: {first['msg'].removeprefix('Value error, ')}"
