"""A bundle on a stick: how the story is made, and how the device takes it in."""

import asyncio
import contextlib
import hashlib
import io
import time
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from faults.rooms import Rooms
from faults.stage import Ending, Stage, Wanted
from skerry_agent.bundles import BackWriter, BundleImport, ImportLimits, ImportParts
from skerry_agent.cli.stick import Stick
from skerry_agent.errors import AgentError
from skerry_agent.sync import ReportSources, SyncService
from skerry_controller.enrollment.first_files import first_files
from skerry_protocol.bundle import RECORDS, back_name, read_frames
from skerry_protocol.desired import TargetRef
from skerry_protocol.errors import ProtocolError
from skerry_protocol.manifest import FileEntry, decode_manifest
from skerry_protocol.reported import Inventory
from skerry_protocol.signing import KeySigner
from support.air_gap import DirectStick, Office, open_office
from support.scripted_controller import PlainConnector

_OLD, _NEW = "tiny@1", "tiny@2"
_WAIT_S = 20.0


def build_import(folder: Path) -> Stage:
    """Nobody can be reached: a new version comes on a stick, and what the device has to tell goes back."""
    quiet = io.StringIO()  # the export shows how far it is
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        return asyncio.run(_build(folder))


async def _build(folder: Path) -> Stage:
    key = ec.generate_private_key(ec.SECP256R1())
    async with open_office(folder / "office") as office:
        device = await office.add_device(KeySigner(key))
        files = first_files(office.core.repository)
        one = await _exported(office, "1", folder / "one", device, files)
        await office.publish("2", fix="{# fixed #}")
        await office.point_channel("2")
        two = await _exported(office, "2", folder / "two", device, {}, base=[_OLD])
    root = files["1.root.json"]
    return Stage(
        story="import",
        root=root,
        root_sha256=hashlib.sha256(root).hexdigest(),
        before=(one,),
        wanted=two,
        ending=Ending("committed", _NEW),
        serving=(_OLD, _NEW),
        entries=(_entry(one), _entry(two)),
        now=time.time(),
        device=device,
        device_key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


async def _exported(
    office: Office, version: str, output: Path, device: str, files: Mapping[str, bytes], **request: object
) -> Wanted:
    """A bundle; ``files`` are those of the repository that the device knows without it."""
    await office.export(version, output, devices=[device], **request)
    stick = await asyncio.to_thread(_files, output)
    content = _manifest(stick, version)
    target = TargetRef(
        path=f"models/tiny/{version}.json", sha256=hashlib.sha256(content).hexdigest(), length=len(content)
    )
    return Wanted(None, None, files, target, stick)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _manifest(stick: Mapping[str, bytes], version: str) -> bytes:
    """The manifest of a version, among the targets on a stick."""
    for name, content in stick.items():
        if name.startswith("targets/"):
            try:
                manifest = decode_manifest(content)
            except ProtocolError:
                continue
            if manifest.version == version:
                return content
    raise RuntimeError(f"the bundle has no manifest of version {version}")


def _entry(wanted: Wanted) -> FileEntry:
    content = _manifest(wanted.stick, wanted.target.path.removesuffix(".json")[-1])
    return decode_manifest(content).variants[0].files[0]


async def take_in(rooms: Rooms, stage: Stage, stick: Path) -> str | None:
    """``skerry-agent import``; returns what went wrong, or None."""
    key = serialization.load_pem_private_key(stage.device_key.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("a device's key is an elliptic one")
    hands = DirectStick(Stick(stick))
    try:
        result = await BundleImport(_parts(rooms, stage.device, KeySigner(key)), hands).run(_WAIT_S)
    except AgentError as error:
        return str(error)
    finally:
        hands.stick.close()
    if result["outcome"] != "committed":
        return f"{result['outcome']}: {result['message']}"
    if result["written"] is None:
        return str(result["not_written"])
    try:
        with (stick / back_name(stage.device, RECORDS)).open("rb") as file:
            frames = len(list(read_frames(file.read)))
    except ProtocolError as error:
        return f"what goes back cannot be read: {error}"
    return None if frames else "nothing goes back"


def _parts(rooms: Rooms, device: str, signer: KeySigner) -> ImportParts:
    engine = rooms.engine
    sync = SyncService(
        connector=PlainConnector(device),
        signer=signer,
        clock=rooms.time,
        open_down=rooms.trust.open_down,
        refresh=rooms.trust.refresh,
        engine=engine,
        outbox=rooms.outbox,
        report=ReportSources(
            slots=engine.reports,
            accepted=lambda: engine.accepted,
            inventory=Inventory,
            metadata_versions=lambda: rooms.trust.versions,
            trust_epoch=lambda: rooms.trust.trust_document.epoch,
        ),
    )
    return ImportParts(
        device=device,
        trust=rooms.trust,
        take_desired=sync.take_desired,
        take_acknowledgement=sync.take_acknowledgement,
        engine=engine,
        configs=tuple,
        hurry=engine.hurry,
        source=rooms.bundle,
        back=BackWriter(device, signer, rooms.outbox, sync.sealed_report),
        events=rooms.events,
        connected=lambda: False,
        limits=ImportLimits(poll_s=0.005, recheck_s=0.2),
    )
