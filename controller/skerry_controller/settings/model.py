"""The settings' classes. Every field says its unit; ``docs/reference/settings.md`` is made from them."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from skerry_protocol.requests import LARGEST_PACKET_BYTES

MiB = 1024 * 1024
GiB = 1024 * MiB
HOUR_S = 3600
DAY_S = 24 * HOUR_S


class _Section(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class ServerSection(_Section):
    """The controller as a whole."""

    data_dir: Path = Field(
        default=Path("/var/lib/skerry-controller"),
        description="Folder of everything that the controller keeps: database, keys, repository, models.",
    )
    stop_timeout_s: float = Field(
        default=10.0, gt=0, description="How long a stop waits for running requests, in seconds."
    )


class LogSection(_Section):
    """Logs. Secrets, keys and tokens are never logged."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important level that is written."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto` is `console` on a terminal and `json` elsewhere."
    )


class OperatorSection(_Section):
    """The operators' API. It speaks plain HTTP: leave it on loopback, or put a TLS proxy before it."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8600, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    max_body_bytes: int = Field(
        default=32 * MiB, gt=0, description="Largest request body other than a model's upload, in bytes."
    )


class DeviceSection(_Section):
    """The devices' HTTPS listener: enrollment, and downloads for those with a capability."""

    host: str = Field(default="0.0.0.0", description="Address to listen on.")  # noqa: S104 - devices come from outside
    port: int = Field(default=8601, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    certificate_names: tuple[str, ...] = Field(
        default=(),
        description="Further host names and addresses for the server certificates; those of the trust "
        "document are always in them.",
    )
    max_enroll_bytes: int = Field(
        default=64 * 1024, gt=0, description="Largest enrollment request, in bytes."
    )
    max_enrollments: int = Field(default=8, ge=1, description="Enrollments that are worked on at once.")
    capability_life_s: int = Field(
        default=HOUR_S, gt=0, description="How long a download address can be used, in seconds."
    )


class BrokerSection(_Section):
    """The managed mosquitto, a child process of the controller."""

    port: int = Field(default=8883, ge=1, le=65535, description="TCP port for MQTT over TLS.")
    bind_address: str | None = Field(
        default=None, description="Address to listen on; without one, all of this machine's."
    )
    binary: Path | None = Field(
        default=None,
        description="Path of mosquitto; without one, `PATH` and the `sbin` folders are searched.",
    )
    account: str = Field(
        default="mosquitto", description="User as which mosquitto runs when the controller is root."
    )
    max_packet_size_bytes: int = Field(
        default=LARGEST_PACKET_BYTES,
        ge=0,
        description="Largest MQTT packet, in bytes; clients are told. 0 is no limit: one device can then fill"
        " the broker's memory.",
    )
    max_queued_bytes: int = Field(
        default=256 * MiB, gt=0, description="Messages that may wait for one slow reader, in bytes."
    )
    start_timeout_s: float = Field(
        default=15.0,
        gt=0,
        description="How long mosquitto may take until it accepts connections, in seconds.",
    )
    stop_timeout_s: float = Field(
        default=5.0, gt=0, description="How long mosquitto may take to stop before it is killed, in seconds."
    )


class FleetSection(_Section):
    """Desired states and rollouts."""

    sweep_interval_s: float = Field(
        default=60.0,
        gt=0,
        description="How often the whole fleet is looked at for desired states that are due, in seconds.",
    )
    rollout_interval_s: float = Field(
        default=1.0,
        gt=0,
        description="How often rollouts are planned when nothing else causes it, in seconds.",
    )
    mqtt_keepalive_s: int = Field(
        default=30, ge=5, le=3600, description="MQTT keepalive of the controller's own session, in seconds."
    )


class EnrollmentSection(_Section):
    """Enrollment tokens."""

    default_life_s: int = Field(
        default=24 * HOUR_S, gt=0, description="Life of a token for which no other is asked, in seconds."
    )
    max_life_s: int = Field(default=366 * DAY_S, gt=0, description="Longest life of a token, in seconds.")
    max_uses: int = Field(default=10_000, ge=1, description="Most devices that one token can enroll.")


class RepositorySection(_Section):
    """The TUF repository's online metadata."""

    refresh_interval_s: float = Field(
        default=float(HOUR_S),
        gt=0,
        description="How often it is checked whether timestamp and snapshot must be signed anew, in seconds.",
    )
    snapshot_days: int = Field(default=7, ge=1, description="Life of the snapshot, in days.")
    timestamp_days: int = Field(default=1, ge=1, description="Life of the timestamp, in days.")
    max_carried_days: int = Field(
        default=90,
        ge=1,
        description="Longest validity of a bundle for devices without a network, in days. For so long who has"
        " the bundle can hide newer versions from a device.",
    )


class BlobSection(_Section):
    """Stored model files."""

    max_blob_bytes: int = Field(default=64 * GiB, gt=0, description="Largest accepted model file, in bytes.")


class ControllerSettings(BaseSettings):
    """All settings of the controller, by section.

    They come from the defaults, a TOML file, environment variables (``SKERRY_OPERATOR__PORT=8700``) and
    flags; later ones win. What devices must believe (addresses, topic root) is no setting: it stands in
    the signed trust document.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="SKERRY_", env_nested_delimiter="__"
    )

    server: ServerSection = ServerSection()
    log: LogSection = LogSection()
    operator: OperatorSection = OperatorSection()
    device: DeviceSection = DeviceSection()
    broker: BrokerSection = BrokerSection()
    fleet: FleetSection = FleetSection()
    enrollment: EnrollmentSection = EnrollmentSection()
    repository: RepositorySection = RepositorySection()
    blobs: BlobSection = BlobSection()
