"""``skerry init``: everything is made aside, and put in its place when it is whole."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from skerry_controller.authorities import Authorities
from skerry_controller.authorities.certificates import general_name
from skerry_controller.clock import Clock
from skerry_controller.data_folder import DataFolder
from skerry_controller.database import Database
from skerry_controller.device_api import Capabilities
from skerry_controller.durable_files import write_durably
from skerry_controller.errors import UsageError
from skerry_controller.keyring import OFFLINE_ROLES, Keyring, KeyringSettings, OnlineKeys
from skerry_controller.operator_api import Admins
from skerry_controller.repository import FolderRepositoryStore, create_repository
from skerry_controller.settings import render_file
from skerry_controller.setup.staging import StagedFolder
from skerry_protocol.signing import public_pem
from skerry_protocol.topics import DEFAULT_ROOT
from skerry_protocol.trust_document import (
    Authorities as TrustedAuthorities,
)
from skerry_protocol.trust_document import Directors, TrustDocument, encode_trust_document

_FLEET_ID_BYTES = 8
_KEYRING_ENTRIES = ("keyring.json", "1.root.json", *(f"{role}.key" for role in OFFLINE_ROLES))
_DATA_ENTRIES = (
    "controller.db",
    "controller.db-wal",
    "controller.db-shm",
    "controller.toml",
    "keys",
    "authorities",
    "repository",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a new controller shall be.

    Attributes:
        data: Its data folder; must not exist, or be empty.
        keys: The keyring's folder; the same.
        hosts: Names and addresses under which devices reach it, the preferred one first.
        operator_port: TCP port of the operators' API.
        device_port: TCP port of the devices' HTTPS listener.
        broker_port: TCP port of the broker.
        topic_root: What stands before all topics.
    """

    data: Path
    keys: Path
    hosts: tuple[str, ...]
    operator_port: int = 8600
    device_port: int = 8601
    broker_port: int = 8883
    topic_root: str = DEFAULT_ROOT

    def check(self) -> None:
        """Refuse what cannot be made, before anybody is asked for a passphrase.

        Raises:
            UsageError: There is a controller already, the folders are not apart, or a name is impossible.
        """
        if DataFolder(self.data).database.exists():
            raise UsageError(
                f"there is a controller in {self.data} already: start it with "
                f"'skerry serve --data {self.data}', or choose another folder"
            )
        data, keys = self.data.resolve(), self.keys.resolve()
        if data.is_relative_to(keys) or keys.is_relative_to(data):
            raise UsageError(
                f"the keys ({self.keys}) and the data ({self.data}) must be apart: "
                "choose a folder for the keys that you can take offline"
            )
        if not self.hosts:
            raise UsageError(
                "at least one --host is needed: the name or address under which devices reach this machine"
            )
        for host in self.hosts:
            general_name(host)
        ports = (self.operator_port, self.device_port, self.broker_port)
        if len(set(ports)) != len(ports):
            raise UsageError(f"the three ports must differ, not {', '.join(map(str, ports))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewController:
    """What was made. The administrator's token is known here and nowhere else."""

    plan: Plan
    fleet: str
    admin_token: str = field(repr=False)
    root_sha256: str
    authority_sha256: str
    controller_urls: tuple[str, ...]
    broker_urls: tuple[str, ...]


async def initialise(
    plan: Plan, passphrase: str, *, clock: Clock, keyring_settings: KeyringSettings | None = None
) -> NewController:
    """Make keyring, data folder and first administrator.

    What an interrupted run left is removed by the next one, which starts over.

    Args:
        plan: What to make.
        passphrase: Encrypts the keyring.
        clock: Time.
        keyring_settings: Protection of the keyring.

    Raises:
        UsageError: A folder has something in it already, a name is impossible, or
            the passphrase is too short.
        WorldError: The disk refused.
    """
    plan.check()
    keys = StagedFolder(plan.keys, entries=_KEYRING_ENTRIES, last="keyring.json")
    data = StagedFolder(plan.data, entries=_DATA_ENTRIES, last="controller.db")
    keys.prepare("keys")
    data.prepare("data")
    now = clock()
    try:
        keyring = Keyring.create(
            keys.stage, passphrase, data_folder=data.stage, now=now, settings=keyring_settings
        )
        made = await _make_data(DataFolder(data.stage), plan, keyring, clock, now)
        # Keys first: data without its keyring could not be used, a keyring without data can be made again.
        keys.finish()
        data.finish()
    except BaseException:
        data.discard()
        keys.discard()
        raise
    return made


async def _make_data(
    data: DataFolder, plan: Plan, keyring: Keyring, clock: Clock, now: datetime
) -> NewController:
    online = OnlineKeys.create(data.keys)
    Capabilities.open(data.keys)
    authorities = Authorities.create(data.authorities, now=now)
    trust = TrustDocument(
        fleet=secrets.token_hex(_FLEET_ID_BYTES),
        epoch=1,
        issued_at=int(now.timestamp()),
        directors=Directors(keys=(public_pem(online.private_key("director").public_key()),)),
        authorities=TrustedAuthorities(
            servers=(authorities.servers.certificate_pem.decode(),),
            devices=(authorities.devices.certificate_pem.decode(),),
        ),
        controller_urls=tuple(f"https://{_host(host)}:{plan.device_port}" for host in plan.hosts),
        broker_urls=tuple(f"mqtts://{_host(host)}:{plan.broker_port}" for host in plan.hosts),
        topic_root=plan.topic_root,
    )
    create_repository(
        FolderRepositoryStore(data.repository), keyring, online, encode_trust_document(trust), now=now
    )
    write_durably(data.root / "controller.toml", render_file(_settings(plan)).encode())
    token = await _make_database(data, clock)
    return NewController(
        plan=plan,
        fleet=trust.fleet,
        admin_token=token,
        root_sha256=keyring.pinned_root_sha256(),
        authority_sha256=authorities.servers.fingerprint,
        controller_urls=trust.controller_urls,
        broker_urls=trust.broker_urls,
    )


async def _make_database(data: DataFolder, clock: Clock) -> str:
    database = Database.at(data.database)
    try:
        await database.migrate()
        return await Admins(database, clock).create("first", actor="system")
    finally:
        await database.close()


def _settings(plan: Plan) -> dict[str, dict[str, int]]:
    return {
        "operator": {"port": plan.operator_port},
        "device": {"port": plan.device_port},
        "broker": {"port": plan.broker_port},
    }


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
