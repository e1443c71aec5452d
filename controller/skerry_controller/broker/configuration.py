"""mosquitto's configuration: rendered by functions of values, then written durably."""

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from skerry_controller.authorities import KeyPair
from skerry_controller.broker.account import Account
from skerry_controller.broker.settings import BrokerSettings
from skerry_controller.durable_files import make_private_folder, write_durably
from skerry_controller.errors import UsageError, WorldError
from skerry_protocol.names import CONTROLLER_NAME
from skerry_protocol.topics import UP_LEAVES, check_root

_MIN_PACKET_SIZE_BYTES = 1024
_MAX_PORT = 65_535

_CONFIGURATION_FILE = "mosquitto.conf"
_ACCESS_LIST_FILE = "access-list"
_CLIENTS_AUTHORITY_FILE = "devices.crt"
_REVOCATIONS_FILE = "devices.crl"
_CERTIFICATE_FILE = "server.crt"
_KEY_FILE = "server.key"


@dataclass(frozen=True, slots=True)
class BrokerMaterial:
    """TLS files of the broker.

    Attributes:
        clients_authority_pem: The devices authority: whoever it certified may connect.
        server: The broker's certificate, from the servers authority.
        revocations_pem: Revocation list of the devices authority, if there is one.
    """

    clients_authority_pem: bytes
    server: KeyPair = field(repr=False)
    revocations_pem: bytes | None = None


def render_configuration(settings: BrokerSettings, folder: Path, *, revocations: bool = False) -> str:
    """The text of ``mosquitto.conf``.

    Raises:
        UsageError: A setting cannot stand in it.
    """
    _check(settings, folder)
    lines = [
        "# Written by skerry at each start: changes are lost.",
        "per_listener_settings false",
        "",
        "# Nothing rests on the broker's memory: devices and controller announce themselves anew.",
        "persistence false",
        "sys_interval 0",
        "log_dest stderr",
        "log_timestamp false",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_type information",
        "",
        "# The default drops QoS 1 messages without a word once 1000 wait for a slow reader.",
        "max_queued_messages 0",
        f"max_queued_bytes {settings.max_queued_bytes}",
        "set_tcp_nodelay true",
        "",
        f"listener {settings.port}" + (f" {settings.bind_address}" if settings.bind_address else ""),
        f"tls_version {settings.tls_version}",
        f"cafile {folder / _CLIENTS_AUTHORITY_FILE}",
        f"certfile {folder / _CERTIFICATE_FILE}",
        f"keyfile {folder / _KEY_FILE}",
        "require_certificate true",
        "",
        "# The certificate's common name is user name and client id: with another's client id a device",
        "# would take over its session.",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        "allow_anonymous false",
        f"acl_file {folder / _ACCESS_LIST_FILE}",
    ]
    if settings.max_packet_size_bytes:
        limit = settings.max_packet_size_bytes
        place = lines.index("set_tcp_nodelay true")
        # The second holds for clients that speak an older MQTT, too.
        lines[place:place] = [f"max_packet_size {limit}", f"message_size_limit {limit}"]
    if revocations:
        lines.insert(lines.index("require_certificate true"), f"crlfile {folder / _REVOCATIONS_FILE}")
    return "\n".join(lines) + "\n"


def render_access_list(settings: BrokerSettings) -> str:
    """The text of the access control list: a device writes its own ``up`` topics, reads below its ``down``.

    Its topics one by one: below ``up/#`` it could keep any number of retained messages in the broker.
    """
    root = check_root(settings.topic_root)
    return "\n".join(
        [
            f"user {CONTROLLER_NAME}",
            f"topic readwrite {root}/#",
            "",
            *(f"pattern write {root}/%u/up/{leaf}" for leaf in UP_LEAVES),
            f"pattern read {root}/%u/down/#",
            "",
        ]
    )


def write_configuration(
    settings: BrokerSettings, material: BrokerMaterial, folder: Path, account: Account | None
) -> Path:
    """Write all files that mosquitto reads; return the path of ``mosquitto.conf``.

    With an account, its group may read the files and nobody but root may write them.

    Raises:
        UsageError: A setting cannot stand in the configuration.
        WorldError: The disk refused.
    """
    revocations = material.revocations_pem
    files = {
        _ACCESS_LIST_FILE: render_access_list(settings).encode(),
        _CLIENTS_AUTHORITY_FILE: material.clients_authority_pem,
        _CERTIFICATE_FILE: material.server.certificate_pem,
        _KEY_FILE: material.server.key_pem,
        **({_REVOCATIONS_FILE: revocations} if revocations is not None else {}),
        _CONFIGURATION_FILE: render_configuration(
            settings, folder, revocations=revocations is not None
        ).encode(),
    }
    make_private_folder(folder)
    for name, content in files.items():
        write_durably(folder / name, content)
        _let_read(folder / name, account, 0o640)
    _let_read(folder, account, 0o750)
    return folder / _CONFIGURATION_FILE


def _let_read(path: Path, account: Account | None, mode: int) -> None:
    if account is None:
        return
    try:
        os.chown(path, 0, account.group_id)
        path.chmod(mode)
    except OSError as error:
        raise WorldError(f"cannot let the broker's group read {path}: {error.strerror}") from error


def _check(settings: BrokerSettings, folder: Path) -> None:
    if not 1 <= settings.port <= _MAX_PORT:
        raise UsageError(f"the broker's port is {settings.port}: use 1 to {_MAX_PORT}")
    if settings.max_packet_size_bytes and settings.max_packet_size_bytes < _MIN_PACKET_SIZE_BYTES:
        raise UsageError(
            f"the broker's packet limit is {settings.max_packet_size_bytes} bytes: "
            f"use 0 for none, or at least {_MIN_PACKET_SIZE_BYTES}"
        )
    if settings.bind_address is not None:
        try:
            ipaddress.ip_address(settings.bind_address)
        except ValueError as error:
            raise UsageError(f"the broker's bind address: {error}") from error
    # A line break would let a path add lines of configuration.
    if not str(folder).isprintable():
        raise UsageError(
            f"the broker's folder {str(folder)!r} has characters that its configuration cannot hold"
        )
