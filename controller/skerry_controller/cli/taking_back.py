"""``skerry telemetry import``: takes in what devices wrote onto a stick, and puts acknowledgements there."""

import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skerry_controller.cli.client import ApiError, ControllerClient, work
from skerry_controller.durable_files import read_file, write_durably
from skerry_controller.errors import UsageError, WorldError
from skerry_protocol.bundle import (
    BACK,
    BUNDLE_LIMITS,
    HEAD,
    RECORDS,
    REPORTED,
    acks_name,
    back_name,
    read_frames,
)
from skerry_protocol.errors import NameSyntaxError, ProtocolError
from skerry_protocol.names import check_device


@dataclass
class Taken:
    """What came from one device.

    Attributes:
        report: ``news``, ``known``, or None when there was none.
        stored: Records that are new.
        duplicates: Records that were there before.
        acknowledged: Whether acknowledgements lie on the stick now.
        problems: What was refused or could not be read, for people.
    """

    report: str | None = None
    stored: int = 0
    duplicates: int = 0
    acknowledged: bool = False
    problems: list[str] = field(default_factory=list)


def take_back(path: Path, data: Path | None) -> dict[str, Any]:
    """Take in everything that devices wrote into a bundle, at the controller that the person means.

    Returns:
        Device -> what came from it.

    Raises:
        UsageError: That is no bundle, or no device wrote anything.
        ControllerError: The controller does not answer.
    """
    devices = list(_devices(path))
    if not devices:
        raise UsageError(
            f"no device wrote anything into {path}: run 'skerry-agent import' with it at the device"
        )

    async def take(client: ControllerClient) -> dict[str, Any]:
        return {device: asdict(await take_device(client, path, device)) for device in devices}

    return work(data, take)


def _devices(path: Path) -> Iterator[str]:
    """Ids of the devices that have a folder; whatever else lies there is left alone."""
    if not (path / HEAD).is_file():
        raise UsageError(f"{path} is no bundle: name the folder that 'skerry artifact export' wrote")
    folder = path / BACK
    if not folder.is_dir() or folder.is_symlink():
        return
    for each in sorted(folder.iterdir()):
        try:
            device = check_device(each.name)
        except NameSyntaxError:
            continue
        if each.is_dir() and not each.is_symlink():
            yield device


async def take_device(client: ControllerClient, path: Path, device: str) -> Taken:
    """Take in what one device wrote, and put acknowledgements for it there."""
    taken = Taken()
    await _take_report(client, path, device, taken)
    try:
        with _RegularFile(path / back_name(device, RECORDS)) as file:
            for envelope in read_frames(file.read):
                await _take_records(client, device, envelope, taken)
    except FileNotFoundError:
        pass
    except ProtocolError as error:
        taken.problems.append(f"{RECORDS}: {error}; what stands before that was taken in")
    except OSError as error:
        taken.problems.append(f"{RECORDS} cannot be read: {error.strerror}")
    await _write_acknowledgements(client, path, device, taken)
    return taken


async def _take_report(client: ControllerClient, path: Path, device: str, taken: Taken) -> None:
    try:
        with _RegularFile(path / back_name(device, REPORTED)) as file:
            envelope = file.read(BUNDLE_LIMITS.max_frame_bytes + 1)
        answer = await client.post_bytes(f"/devices/{device}/carried/report", envelope)
        taken.report = "news" if answer["is_news"] else "known"
    except FileNotFoundError:
        return
    except OSError as error:
        taken.problems.append(f"{REPORTED} cannot be read: {error.strerror}")
    except ApiError as error:
        taken.problems.append(f"{REPORTED} was refused: {error} ({error.reason})")


async def _take_records(client: ControllerClient, device: str, envelope: bytes, taken: Taken) -> None:
    try:
        answer = await client.post_bytes(f"/devices/{device}/carried/records", envelope)
    except ApiError as error:
        if error.status >= 500:  # noqa: PLR2004 - the controller's own problem: try the whole again later
            raise
        problem = f"a batch of {RECORDS} was refused: {error} ({error.reason})"
        if problem not in taken.problems:
            taken.problems.append(problem)
        return
    taken.stored += answer["stored"]
    taken.duplicates += answer["duplicates"]


async def _write_acknowledgements(client: ControllerClient, path: Path, device: str, taken: Taken) -> None:
    """For the way back; a stick that cannot be written costs only that the device sends it all again."""
    try:
        content = await client.get_bytes(f"/devices/{device}/carried/acknowledgements")
    except ApiError as error:
        taken.problems.append(f"no acknowledgements: {error} ({error.reason})")
        return
    if not content:
        return
    place = path / acks_name(device)
    try:
        if read_file(place) != content:
            place.parent.mkdir(exist_ok=True)
            write_durably(place, content)
        taken.acknowledged = True
    except (OSError, WorldError) as error:
        taken.problems.append(f"acknowledgements were not written onto the stick: {error}")


class _RegularFile:
    """A regular file that is no symbolic link: a stick may hold anything."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Any:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(0, "it is no regular file")
        self._file = os.fdopen(descriptor, "rb")
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()
