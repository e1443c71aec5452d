"""The settings' classes. Every field says its unit; ``docs/reference/settings.md`` is made from them."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from skerry_protocol.windows import Window

MiB = 1024 * 1024
GiB = 1024 * MiB
SMALLEST_RATE_BYTES_PER_S = 1024


class _Section(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class DaemonSettings(_Section):
    """The daemon as a whole."""

    state_dir: Path = Field(
        default=Path("/var/lib/skerry-agent"),
        description="Folder of everything that the agent keeps: identity, trust, models, outbox.",
    )
    stop_timeout_s: float = Field(
        default=20.0, gt=0, description="How long a stop waits for running requests, in seconds."
    )


class LogSettings(_Section):
    """Logs. Prompts, answers, keys and tokens are never logged."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important level that is written."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto` is `console` on a terminal and `json` elsewhere."
    )


class ApiSettings(_Section):
    """The local API for programs on this device. TCP only infers; administration goes over a unix socket."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8610, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    allowed_hosts: tuple[str, ...] = Field(
        default=("localhost", "127.0.0.1", "[::1]"),
        description="Host headers that are answered, without port: others are refused (DNS rebinding).",
    )
    max_body_bytes: int = Field(default=4 * MiB, gt=0, description="Largest request body, in bytes.")
    request_timeout_s: float = Field(
        default=600.0, gt=0, description="Longest time that one request may take, in seconds."
    )
    require_token: bool = Field(
        default=False,
        description="Whether answers need a local API token (`skerry-agent token create`); changing models"
        " over TCP always does.",
    )


class RegistrySettings(_Section):
    """The models on this device."""

    disk_budget_bytes: int = Field(
        default=0, ge=0, description="All model files together, in bytes; 0 means no limit of its own."
    )
    min_free_bytes: int = Field(
        default=256 * MiB, ge=0, description="Disk space that is always left free, in bytes."
    )
    allow_local_when_enrolled: bool = Field(
        default=False, description="Whether a person may import unsigned models on an enrolled device."
    )


class RuntimeSettings(_Section):
    """How models run."""

    context_tokens: int = Field(
        default=2048, ge=1, description="Prompt and answer together, in tokens; bounded by the model's own."
    )
    kv_tokens: int = Field(
        default=0,
        ge=0,
        description="Cells of one model's cache, in tokens, for its running requests and the prefixes that it"
        " keeps; 0 takes two contexts, and it is never less than one.",
    )
    threads: int = Field(
        default=0, ge=0, description="Most threads, so most cores, for one model; 0 means one a core."
    )
    adapt_threads: bool = Field(
        default=True, description="Use fewer threads while other processes of the device need the cores."
    )
    huge_pages: bool = Field(
        default=True,
        description="Ask for huge pages for caches and buffers: some percent faster, some MiB more.",
    )
    nice: int = Field(default=0, ge=0, le=19, description="Added to the niceness of the models' processes.")
    max_celsius: float = Field(
        default=0.0,
        ge=0,
        le=150,
        allow_inf_nan=False,
        description="From this temperature of the device's hottest sensor on, in degrees Celsius, models get"
        " slower by degrees; 0 for no limit.",
    )
    max_growth_bytes: int = Field(
        default=256 * MiB,
        ge=0,
        description="What a model's process may take for requests, in bytes, over what it holds once it is"
        " loaded and a second context for vectors: a request that would take more fails; 0 for no limit.",
    )
    batch_tokens: int = Field(
        default=256, ge=1, le=4096, description="Most tokens of prompts in one step of the engine."
    )
    slots: int = Field(
        default=8, ge=1, le=64, description="Requests that one model answers at the same time."
    )
    speculate: bool = Field(
        default=True, description="Guess tokens from the text so far, where measurements say that it pays."
    )
    drafts: tuple[str, ...] = Field(
        default=(),
        description='Draft models, as `"MODEL=DRAFT"`: a smaller model of the same vocabulary that guesses'
        " tokens for a model. It is used where measurements say that it pays, and never changes an answer.",
    )
    share_prefixes: Literal["all", "client", "off"] = Field(
        default="all",
        description="Who may begin with a prefix that another request left in the cache: all, requests of the"
        " same client, or nobody. What is shared is felt in the time that an answer takes.",
    )
    save_prefixes: bool = Field(
        default=True,
        description="Keep prefixes that repeat on disk, so that they are there after a restart. They hold"
        " prompts in readable form, for the agent's user alone.",
    )
    prefix_max_bytes: int = Field(
        default=256 * MiB, ge=0, description="All saved prefixes together, of all models, in bytes."
    )
    prefix_daily_bytes: int = Field(
        default=256 * MiB, ge=0, description="What may be written of them in a day, in bytes (SD cards wear)."
    )
    max_queue: int = Field(default=16, ge=1, description="Requests that may wait for one model.")
    max_crashes: int = Field(
        default=5,
        ge=1,
        description="After so many crashes within 5 minutes a model is out of service for a while.",
    )
    backoff_max_s: float = Field(
        default=30.0, gt=0, description="Longest pause before a crashed model is loaded again, in seconds."
    )
    memory_budget_bytes: int = Field(
        default=0,
        ge=0,
        description="What all loaded models together may hold, in bytes: weights, KV caches, buffers,"
        " processes. 0 takes four fifths of what the device has available; it is never more than that.",
    )
    max_loaded: int = Field(
        default=0,
        ge=0,
        description="Models in memory at once, a trial not counted; 0 takes as many as the budget holds.",
    )
    keep_alive_s: float = Field(
        default=300.0,
        allow_inf_nan=False,
        description="Idle time after which a model is unloaded, in seconds: 0 at once, a negative number"
        " never. A request may say otherwise (`keep_alive`).",
    )
    pinned: tuple[str, ...] = Field(
        default=(),
        description="Models that are loaded at the start and stay: channels, names or `name@version`.",
    )
    load_timeout_s: float = Field(default=120.0, gt=0, description="Longest time to load, in seconds.")
    drain_timeout_s: float = Field(
        default=60.0, gt=0, description="How long a replaced model may finish its requests, in seconds."
    )

    @field_validator("drafts")
    @classmethod
    def _are_pairs(cls, drafts: tuple[str, ...]) -> tuple[str, ...]:
        for pair in drafts:
            if not all(pair.partition("=")) or pair.count("=") != 1:
                raise ValueError(f"{pair!r} is not MODEL=DRAFT")
        return drafts


class UpdateSettings(_Section):
    """How versions from the fleet are taken."""

    retry_initial_s: float = Field(
        default=2.0, gt=0, description="First pause after a failed attempt, in seconds (full jitter)."
    )
    retry_max_s: float = Field(default=300.0, gt=0, description="Longest such pause, in seconds.")
    allowed_licenses: tuple[str, ...] = Field(
        default=(),
        description="Licences of models that are taken: SPDX ids or patterns (`Apache-2.0`, `CC-BY-?.0`);"
        " none takes all. `NOASSERTION` stands for a model that states none.",
    )
    refused_licenses: tuple[str, ...] = Field(
        default=(), description="Licences that are refused (`CC-BY-NC-*`), though they be allowed."
    )
    soak_s: float = Field(
        default=300.0,
        ge=0,
        le=30 * 24 * 3600,
        description="How long a version that passed its checks takes requests on trial before it stays,"
        " in seconds; 0 for not at all. A manifest may say otherwise, here and for the next two.",
    )
    soak_max_slowdown: float = Field(
        default=2.0,
        ge=1,
        description="Factor by which it may be slower than the version before: tokens per second, and the"
        " time to the first token.",
    )
    soak_max_more_errors_percent: float = Field(
        default=5.0,
        ge=0,
        le=100,
        description="Percentage points by which more of its requests may fail than of the version before.",
    )
    soak_max_celsius: float = Field(
        default=85.0,
        gt=0,
        description="Mean temperature of the device at which a version on trial goes back, unless the device"
        " was as hot before, in degrees Celsius.",
    )
    http_source: bool = Field(
        default=True, description="Whether to try the controller's HTTPS listener before MQTT."
    )
    download_bytes_per_s: int = Field(
        default=0,
        ge=0,
        description="Most bytes a second that downloads take from all network sources together: 1024 or more,"
        " or 0 for no limit.",
    )
    download_window: str = Field(
        default="",
        description="When downloads may go on: five cron fields, in the device's time zone, and a duration,"
        " such as `0 2 * * * 3h`; empty is always. Outside of it comes only what tells of updates.",
    )
    activation_window: str = Field(
        default="",
        description="When a downloaded version may be tried and take over; in the same form.",
    )
    start_spread_s: float = Field(
        default=0.0,
        ge=0,
        description="A download begins within so many seconds after it was wanted, or its window opened, each"
        " device at a moment of its own: so that a fleet does not begin at once. 0 is at once.",
    )

    @field_validator("download_bytes_per_s")
    @classmethod
    def _check_rate(cls, value: int) -> int:
        if 0 < value < SMALLEST_RATE_BYTES_PER_S:
            raise ValueError(f"write 0 for no limit, or {SMALLEST_RATE_BYTES_PER_S} or more")
        return value

    @field_validator("download_window", "activation_window")
    @classmethod
    def _check_window(cls, value: str) -> str:
        return Window.parse(value).text if value else value


class OutboxSettings(_Section):
    """The durable queue towards the controller."""

    max_bytes: int = Field(
        default=64 * MiB, ge=MiB, description="Size at which samples are thinned, in bytes."
    )
    keep_events: int = Field(
        default=2000, ge=0, description="Events that stay readable on the device after their delivery."
    )


class TelemetrySettings(_Section):
    """Samples of this device's health."""

    sample_interval_s: float = Field(default=30.0, gt=0, description="Time between samples, in seconds.")
    flush_interval_s: float = Field(
        default=60.0, gt=0, description="At most so many seconds of samples may die in memory."
    )


class SyncSettings(_Section):
    """The MQTT session with the controller."""

    keepalive_s: int = Field(default=30, ge=5, le=3600, description="MQTT keepalive, in seconds.")
    reconnect_initial_s: float = Field(
        default=1.0, gt=0, description="First pause before a reconnect, in seconds (full jitter)."
    )
    reconnect_max_s: float = Field(default=60.0, gt=0, description="Longest such pause, in seconds.")
    request_timeout_s: float = Field(
        default=15.0, gt=0, description="Least time to wait for one response frame, in seconds."
    )
    ack_timeout_s: float = Field(
        default=15.0, gt=0, description="Time after which unacknowledged records are sent again, in seconds."
    )
    report_interval_s: float = Field(
        default=2.0, gt=0, description="Least time between reports while an update goes on, in seconds."
    )
    heartbeat_s: float = Field(
        default=300.0, gt=0, description="A report is sent at least so often, in seconds."
    )
    refresh_interval_s: float = Field(
        default=3600.0, gt=0, description="Time between refreshes of the TUF metadata, in seconds."
    )


class AgentSettings(BaseSettings):
    """All settings of the agent, by section.

    They come from the defaults, a TOML file, a config bundle of the fleet, environment variables
    (``SKERRY_AGENT_API__PORT=8611``) and flags; later ones win.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="SKERRY_AGENT_", env_nested_delimiter="__"
    )

    daemon: DaemonSettings = DaemonSettings()
    log: LogSettings = LogSettings()
    api: ApiSettings = ApiSettings()
    registry: RegistrySettings = RegistrySettings()
    runtime: RuntimeSettings = RuntimeSettings()
    updates: UpdateSettings = UpdateSettings()
    outbox: OutboxSettings = OutboxSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    sync: SyncSettings = SyncSettings()


BUNDLE_SECTIONS: frozenset[str] = frozenset(
    {"log", "api", "registry", "runtime", "updates", "outbox", "telemetry", "sync"}
)
"""What a config bundle may set. Identity and trust are no settings at all; ``daemon`` is the device's."""
