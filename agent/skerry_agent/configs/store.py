"""``settings.d``: what is in force, what was before, and each bundle. All functions block.

``current.json`` is what is in force, or being tried; ``previous.json`` is what was in force before;
``<target's SHA-256>.json`` are the settings of each bundle, for people. Each is replaced whole.
"""

from pathlib import Path
from typing import Literal

import msgspec
import structlog

from skerry_agent import durable
from skerry_agent.errors import WorldError
from skerry_protocol.config_bundle import Setting
from skerry_protocol.desired import TargetRef
from skerry_protocol.reported import Reason

log = structlog.get_logger(__name__)

_MAX_TRIES = 2
_HASH_LENGTH = 64


class Refusal(msgspec.Struct, frozen=True):
    """A bundle that is not in force, and why."""

    target: TargetRef
    reason: Reason


class ConfigState(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent runs with.

    Attributes:
        status: ``trying`` until the agent was found healthy with it.
        starts: How often the agent started while it was being tried.
        desired: The bundles that were wanted, in order.
        applied: Those of them whose settings these are.
        refused: The others.
        told: Whether the events of this state were emitted.
    """

    v: int = 1
    status: Literal["applied", "trying"] = "applied"
    starts: int = 0
    desired: tuple[TargetRef, ...] = ()
    applied: tuple[TargetRef, ...] = ()
    refused: tuple[Refusal, ...] = ()
    told: bool = True
    settings: dict[str, dict[str, Setting]] = {}


class ConfigStoreError(WorldError):
    """``settings.d`` cannot be read or written."""


class ConfigStore:
    """Reads and writes the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current = folder / "current.json"
        self._previous = folder / "previous.json"

    def load(self) -> ConfigState:
        """What is in force or being tried; nothing when no bundle ever was.

        A damaged file counts as not there, and what was before it is in force again.

        Raises:
            ConfigStoreError: The folder cannot be read.
        """
        return self._read(self._current) or self.previous()

    def previous(self) -> ConfigState:
        """What was in force before."""
        return self._read(self._previous) or ConfigState()

    def keep_bundle(self, target: TargetRef, settings: dict[str, dict[str, Setting]]) -> None:
        """Write one bundle's settings, for people to look at."""
        self._write(self._folder / f"{target.sha256}.json", settings)

    def begin(self, candidate: ConfigState) -> None:
        """Let a candidate be tried; what is in force becomes the previous one."""
        current = self.load()
        if current.status == "applied":
            self._write(self._previous, current)
        self._write(self._current, candidate)

    def put(self, state: ConfigState) -> None:
        """Replace what is in force."""
        self._write(self._current, state)
        self._tidy(state)

    def _tidy(self, state: ConfigState) -> None:
        kept = {target.sha256 for target in (*state.applied, *self.previous().applied)}
        for path in self._folder.glob("*.json"):
            if len(path.stem) == _HASH_LENGTH and path.stem not in kept:
                path.unlink(missing_ok=True)

    def _read(self, path: Path) -> ConfigState | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=ConfigState)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigStoreError(f"cannot read {path}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            log.warning("config_state_damaged", path=str(path), error=str(error))
            return None

    def _write(self, path: Path, value: object) -> None:
        data = msgspec.json.format(msgspec.json.encode(value), indent=2)
        try:
            durable.make_folder(self._folder)
            durable.write_atomic(path, data)
        except OSError as error:
            raise ConfigStoreError(f"cannot write {path}: {error.strerror}") from error


def settings_for_start(folder: Path) -> dict[str, dict[str, Setting]]:
    """The fleet's settings with which the agent starts. Call it once for each start, before anything else.

    Settings that were being tried when the agent ended are tried in this start, and given up when the agent
    already started with them ``2`` times without being found healthy.

    Raises:
        ConfigStoreError: The folder cannot be read or written.
    """
    store = ConfigStore(folder)
    state = store.load()
    if state.status == "applied":
        return state.settings
    if state.starts >= _MAX_TRIES:
        reason = Reason("crash_loop", f"the agent ended {state.starts} times while these settings were tried")
        state = msgspec.structs.replace(given_up(state, store.previous(), reason), told=False)
    else:
        state = msgspec.structs.replace(state, starts=state.starts + 1)
    store.put(state)
    return state.settings


def given_up(candidate: ConfigState, previous: ConfigState, reason: Reason) -> ConfigState:
    """The state after a candidate was given up: the settings from before, and why the new ones are not in."""
    new = [target for target in candidate.applied if target not in previous.applied]
    refused = tuple(Refusal(target, reason) for target in new or candidate.applied)
    return ConfigState(
        desired=candidate.desired,
        applied=previous.applied,
        refused=candidate.refused + refused,
        settings=previous.settings,
    )
