"""How a server is configured: flags before the environment, that before a YAML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from fleetnet.errors import FleetnetError, nearest
from fleetnet.inference.engines import Mode, Precision
from fleetnet.schema import first_problem
from fleetnet.serving.batching import Queueing
from fleetnet.serving.drift import Watching
from fleetnet.serving.loaded import Opening
from fleetnet.serving.models import Models, Routing
from fleetnet.serving.service import Options
from fleetnet.yaml_text import NotYamlError, from_yaml

PREFIX = "FLEETNET_SERVE_"
MAX_FILE_BYTES = 2**20
Share = float | str


def _as_text(value: object) -> object:
    """Take a version that YAML took for a number; ``1.10`` would have become 1.1."""
    if type(value) is float:
        raise ValueError('versions with a point are written in quotes, as "1.10"')
    return str(value) if type(value) is int else value


VersionName = Annotated[str, BeforeValidator(_as_text)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true and false as 1 and 0."""
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and {int, float} & {kind, *get_args(kind)}:
            raise ValueError("it must be a number")
        return value


class EngineSettings(_Section):
    """What computes; as the arguments of :class:`fleetnet.Classifier`.

    ``auto`` is what ``fleetnet tune`` chose on this machine. ``batch`` is the largest number of
    images computed together, None for what suits the engine.
    """

    name: str = "openvino"
    precision: Precision | None = None
    threads: int | None = Field(None, ge=1, le=1024)
    device: str | None = None
    mode: Mode = "throughput"
    batch: int | None = Field(None, ge=1, le=4096)
    exact: bool = False


class QueueSettings(_Section):
    """How images wait, in each version of each model.

    ``delay_ms`` is how long a batch waits for images that are being decoded already. Requests over
    ``images`` or ``bytes`` are shed.
    """

    delay_ms: float = Field(2.0, ge=0, le=10_000)
    images: int = Field(256, ge=1, le=1_000_000)
    bytes: int = Field(256 * 2**20, ge=1)


class LimitSettings(_Section):
    """What a client may send, and how slowly.

    ``body`` and ``header`` are bytes, ``buffered`` those of all bodies that are being received,
    ``explanations`` heat maps that are computed at the same time, 0 for none at all, and
    the seconds are those until a request's headers, until its whole body, and between requests.
    """

    body: int = Field(64 * 2**20, ge=1)
    buffered: int = Field(512 * 2**20, ge=1)
    header: int = Field(32 * 2**10, ge=256)
    pixels: int = Field(50_000_000, ge=1)
    images: int = Field(64, ge=1, le=100_000)
    explanations: int = Field(1, ge=0, le=1024)
    connections: int = Field(1024, ge=1)
    header_seconds: float = Field(10.0, gt=0)
    body_seconds: float = Field(30.0, gt=0)
    idle_seconds: float = Field(30.0, gt=0)


class TlsSettings(_Section):
    """Files in PEM; with ``client_ca`` only clients with a certificate of it are served."""

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None

    @model_validator(mode="after")
    def _fits(self) -> TlsSettings:
        if self.certificate is None and (self.key or self.client_ca):
            raise ValueError("a key or client_ca is of use only with a certificate")
        return self


class GrpcSettings(_Section):
    """gRPC; ``port`` is 0 for any, None for the one after the port of HTTP.

    ``calls`` may run at the same time, and ``streams`` of them on one connection; ``ping_seconds``
    is how often a client may ask whether an idle connection still stands.
    """

    enabled: bool = True
    port: int | None = Field(None, ge=0, le=65535)
    calls: int = Field(1024, ge=1, le=1_000_000)
    streams: int = Field(128, ge=1, le=1_000_000)
    ping_seconds: float = Field(10.0, gt=0)


class BrpcSettings(_Section):
    """bRPC; ``port`` is 0 for any, None for the second after the port of HTTP."""

    enabled: bool = True
    port: int | None = Field(None, ge=0, le=65535)


class DriftSettings(_Section):
    """With what a model's requests are compared.

    ``references`` maps ``NAME`` or ``NAME/VERSION`` to a file of ``fleetnet evaluate --reference``.
    The last ``window`` images are compared, as soon as there are ``least``.
    """

    references: dict[str, Path] = Field(default_factory=dict)
    window: int = Field(1000, ge=1, le=1_000_000)
    least: int = Field(200, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> DriftSettings:
        if self.least > self.window:
            raise ValueError(f"of a window of {self.window}, least cannot be {self.least}")
        return self


class RoutingSettings(_Section):
    """Which versions of a model answer where none is asked for; shares are 0.1 or "10%"."""

    default: VersionName | None = None
    split: dict[VersionName, Share] = Field(default_factory=dict)
    shadow: VersionName | None = None

    @model_validator(mode="after")
    def _fits(self) -> RoutingSettings:
        if sum(map(share_of, self.split.values())) > 1 + 1e-9:
            raise ValueError("the shares of split are more than 100% together")
        return self

    def routing(self) -> Routing:
        """Return the settings as the object that routes."""
        shares = {version: share_of(share) for version, share in self.split.items()}
        return Routing(self.default, shares, self.shadow)


class Settings(_Section):
    """Everything about a server.

    ``models`` maps ``NAME`` or ``NAME/VERSION`` to a bundle's path, ``folder`` holds more, of which
    ``load`` are loaded at the start, None for all. ``hosts`` are the names by which the server may
    be asked over HTTP, "*" for any; None for this machine's own where it needs no tokens because
    it listens to this machine only, and else for any. ``aliases`` map other names to ``NAME`` or
    ``NAME/VERSION``. ``timeout`` and ``drain`` are seconds. ``workers`` is how many processes share
    the ports and the limits. ``telemetry`` sends traces; None does so where the environment names
    a collector.
    """

    models: dict[str, Path] = Field(default_factory=dict)
    folder: Path | None = None
    load: tuple[str, ...] | None = None
    aliases: dict[str, str] = Field(default_factory=dict)
    routing: dict[str, RoutingSettings] = Field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    hosts: tuple[str, ...] | None = None
    tokens: Path | None = None
    timeout: float = Field(30.0, gt=0)
    drain: float = Field(30.0, ge=0)
    log: Literal["text", "json"] = "text"
    workers: int = Field(1, ge=1, le=256)
    telemetry: bool | None = None
    engine: EngineSettings = EngineSettings()
    queue: QueueSettings = QueueSettings()
    limits: LimitSettings = LimitSettings()
    tls: TlsSettings = TlsSettings()
    grpc: GrpcSettings = GrpcSettings()
    brpc: BrpcSettings = BrpcSettings()
    drift: DriftSettings = DriftSettings()

    @classmethod
    def load_all(
        cls, file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]
    ) -> Settings:
        """Put a file's, the environment's and the command line's settings together.

        Args:
            file: in YAML, or None.
            environment: in which ``FLEETNET_SERVE_LIMITS_BODY`` is ``limits.body``.
            flags: nested as the file; None where a flag was not given.

        Raises:
            FleetnetError: the file cannot be read, or a setting is unknown or wrong.
        """
        values = {} if file is None else _read(file)
        where = "the command line" if file is None else str(file)
        _merge(values, _from_environment(environment))
        _merge(values, flags)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            key, text = first_problem(error, cls)
            variable = PREFIX + key.upper().replace(".", "_")
            origin = variable if variable in environment else where
            raise FleetnetError(f"{origin}: {key + ': ' if key else ''}{text}") from None

    def options(self) -> Options:
        """Return what the service needs of them."""
        engine, queue, limits = self.engine, self.queue, self.limits
        return Options(
            opening=Opening(
                engine=engine.name,
                precision=engine.precision,
                threads=engine.threads,
                device=engine.device,
                mode=engine.mode,
                exact=engine.exact,
                max_batch=engine.batch,
                max_pixels=limits.pixels,
            ),
            queueing=Queueing(
                max_delay=queue.delay_ms / 1000, max_images=queue.images, max_bytes=queue.bytes
            ),
            max_images=limits.images,
            max_buffered=limits.buffered,
            max_explanations=limits.explanations,
            timeout=self.timeout,
            threads=engine.threads,
            watching=Watching(
                self.drift.references, window=self.drift.window, least=self.drift.least
            ),
        )

    def routed(self) -> Iterator[tuple[str, str, str]]:
        """Yield what routes and aliases lead to: the setting, the model and the version, if any."""
        for name, routing in self.routing.items():
            where = f"routing.{name}"
            yield where, name, ""
            for version in routing.split:
                yield f"{where}.split", name, version
            for setting in ("default", "shadow"):
                version = getattr(routing, setting)
                if version is not None:
                    yield f"{where}.{setting}", name, version
        for alias, target in self.aliases.items():
            name, _, version = target.partition("/")
            yield f"aliases.{alias}", name, version

    def routes(self) -> Models:
        """Return the routing and the aliases, with nothing loaded yet."""
        aliases = {}
        for alias, target in self.aliases.items():
            name, _, version = target.partition("/")
            aliases[alias] = (name, version)
        return Models({name: one.routing() for name, one in self.routing.items()}, aliases)


def share_of(share: Share) -> float:
    """Return a share of requests, written as 0.1 or "10%".

    Raises:
        ValueError: it is none.
    """
    text = str(share)
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError(f"a share is from 0 to 1, or such as 10%, not {text}")
    return number


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise FleetnetError(f"{file} is larger than {MAX_FILE_BYTES // 2**20} MiB")
        values = from_yaml(file.read_text("utf-8"))
    except OSError as error:
        raise FleetnetError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FleetnetError(f"{file} {NotYamlError(None)}") from None
    except NotYamlError as error:
        raise FleetnetError(f"{file} {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise FleetnetError(f"{file} must be a mapping of settings to values")
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings in variables, whose values are YAML."""
    known = {PREFIX + "_".join(keys).upper(): keys for keys in _keys(Settings)}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        keys = known.get(variable)
        if keys is None:
            raise FleetnetError(f"unknown variable {variable}{nearest(variable, known)}")
        try:
            value = from_yaml(text)
        except NotYamlError:
            value = text
        inner = values
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = value
    return values


def _keys(section: type[BaseModel]) -> list[tuple[str, ...]]:
    keys: list[tuple[str, ...]] = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += [(name, *inner) for inner in _keys(kind)]
        else:
            keys.append((name,))
    return keys


def _merge(values: dict[str, Any], others: Mapping[str, Any]) -> None:
    """Let settings come before those that are there; what is no section stays, to be refused."""
    for key, value in others.items():
        if not isinstance(value, Mapping):
            if value is not None:
                values[key] = value
            continue
        section = values.get(key)
        section = {} if section is None else section
        if isinstance(section, dict):
            _merge(section, value)
            values[key] = section
