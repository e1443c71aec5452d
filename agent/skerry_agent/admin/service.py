"""What a person at the device can see and do. The same with and without the daemon, enrolled or not."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from skerry_agent import __version__
from skerry_agent.access import ApiToken, TokenStore
from skerry_agent.errors import UsageError
from skerry_agent.outbox import Outbox
from skerry_agent.registry import InstalledArtifact, Registry, Slot, local_slot
from skerry_agent.runtime import ModelFile, ModelPool, ModelStatus
from skerry_protocol.names import LOCAL_PREFIX
from skerry_protocol.reported import SlotReport

if TYPE_CHECKING:
    from skerry_agent.bundles import Answer


class Fleet(Protocol):
    """The fleet's side of the daemon, once the device is enrolled."""

    @property
    def device(self) -> str:
        """The device's id."""

    @property
    def connected(self) -> bool:
        """Whether the MQTT session is up."""

    def reports(self) -> Mapping[str, SlotReport]:
        """Where each slot of the fleet stands."""

    async def rollback(self, slot: str) -> None:
        """Go back to the version before, and hold there until a new attempt."""

    def nudge(self) -> None:
        """Do not wait out pauses of updates: somebody asks for one now."""

    def settings_changed(self) -> None:
        """Look again at what waits: windows and limits may be others."""

    @property
    def imports(self) -> "Imports":
        """Bundles that are being imported."""


class Imports(Protocol):
    """Imports of bundles (``bundles.ImportSessions``)."""

    def begin(self, wait_s: float | None = None) -> str:
        """Begin one; returns its id."""

    async def turn(self, import_id: str, answer: "Answer | None") -> dict[str, Any]:
        """Take the answer to its last step, and give the next."""

    def cancel(self, import_id: str) -> None:
        """Break it off."""


class PinnedModels(Protocol):
    """The models that stay loaded (``pins.Pins``)."""

    def names(self) -> tuple[str, ...]:
        """All of them."""

    async def files(self) -> list[ModelFile]:
        """What they stand for."""

    async def add(self, name: str) -> None:
        """Keep one loaded."""

    async def remove(self, name: str) -> None:
        """Treat one like any other again."""


@dataclass
class AdminService:
    """Operations of a person at the device; each returns what ``--json`` prints.

    Attributes:
        allow_local: Whether unsigned files may be imported now: always when not enrolled.
        tokens: The local API's tokens.
        pins: The models that stay loaded.
        api_url: Where the local API listens; None while no daemon runs.
        enrolled: Whether the device belongs to a fleet.
        settle: Called after a slot changed, so that the runtime lets the old version go.
    """

    registry: Registry
    outbox: Outbox
    allow_local: Callable[[], bool]
    tokens: TokenStore
    api_url: str | None = None
    pool: ModelPool | None = None
    fleet: Callable[[], Fleet | None] = lambda: None
    pins: PinnedModels | None = None
    enrolled: Callable[[], bool] = lambda: False
    settle: Callable[[InstalledArtifact | None], Awaitable[None]] | None = None
    started_at: float = field(default_factory=time.monotonic)

    async def status(self) -> dict[str, Any]:
        """The daemon, its fleet, slots and runners."""
        fleet = self.fleet()
        return {
            "version": __version__,
            "running": self.pool is not None,
            "api": self.api_url,
            "uptime_s": round(time.monotonic() - self.started_at, 1) if self.pool else None,
            "device": fleet.device if fleet else None,
            "connected": fleet.connected if fleet else False,
            "slots": [_slot_entry(slot) for slot in await self.registry.slots()],
            "updates": {k: msgspec.to_builtins(v) for k, v in fleet.reports().items()} if fleet else {},
            "runners": [msgspec.to_builtins(status) for status in self.pool.status()] if self.pool else [],
            "memory": self._memory(),
            "outbox": (await self.outbox.stats())._asdict(),
        }

    async def models(self) -> dict[str, Any]:
        """What is installed, and where it is active."""
        slots = await self.registry.slots()
        active = {part.ref: s.name for s in slots if s.serving for part in s.serving.parts}
        previous = {part.ref: s.name for s in slots if s.before for part in s.before.parts}
        refs = {a.file_sha256: a.ref for a in await self.registry.artifacts()}
        pinned = {file.sha256 for file in await self.pins.files()} if self.pins else set()
        loaded = self._in_memory()
        return {
            "memory": self._memory(),
            "pinned": list(self.pins.names()) if self.pins else [],
            "models": [
                {
                    "ref": a.ref,
                    "kind": a.kind,
                    "signed": a.signed,
                    "bytes": a.length,
                    "sha256": a.file_sha256,
                    "license": a.license,
                    "base": None if a.base_sha256 is None else refs.get(a.base_sha256, a.base_sha256),
                    "active_in": active.get(a.ref),
                    "previous_in": previous.get(a.ref),
                    "description": dict(a.description),
                    "pinned": a.file_sha256 in pinned,
                    "runners": loaded.get(a.file_sha256, []),
                }
                for a in await self.registry.artifacts()
            ],
        }

    async def recent_events(self, limit: int = 50) -> dict[str, Any]:
        """The newest events, newest last."""
        return {"events": [event._asdict() for event in await self.outbox.recent_events(limit)]}

    async def import_file(self, path: Path, name: str, base: str | None = None) -> dict[str, Any]:
        """Take a model file, or with a base an adapter, into the registry, under ``local/``.

        Raises:
            UsageError: The device is enrolled and its settings do not allow it, or the name is taken.
            ModelFileError: The file is no usable model.
        """
        self._check_local_allowed()
        return _import_entry(await self.registry.import_file(path, name, base=base))

    async def prepare_import(self, length: int) -> None:
        """Make room for a file of ``length`` bytes that is about to be sent in.

        Raises:
            UsageError: The device is enrolled and its settings do not allow local models.
            NoSpaceError: It does not fit; says how many bytes are missing.
        """
        self._check_local_allowed()
        await self.registry.reserve(length)

    async def take_file(self, path: Path, name: str, base: str | None = None) -> dict[str, Any]:
        """Take a file that was sent in, as :meth:`import_file` does, but without a second copy of it."""
        self._check_local_allowed()
        return _import_entry(await self.registry.take_file(path, name, base=base))

    async def bundle_begin(self, wait_s: float | None = None) -> dict[str, Any]:
        """Begin to import a bundle, whose files the caller reads and writes step by step.

        Raises:
            UsageError: No daemon runs, the device belongs to no fleet, or another import is under way.
        """
        return {"id": self._imports().begin(wait_s)}

    async def bundle_turn(self, import_id: str, answer: "Answer | None") -> dict[str, Any]:
        """Take the answer to the last step (None before the first), and give the next."""
        return await self._imports().turn(import_id, answer)

    async def bundle_cancel(self, import_id: str) -> dict[str, Any]:
        """Break an import off."""
        self._imports().cancel(import_id)
        return {}

    def _imports(self) -> Imports:
        fleet = self.fleet()
        if fleet is not None:
            return fleet.imports
        if self.pool is None:
            raise UsageError("no agent runs here: start it ('skerry-agent run'), then import the bundle")
        if self.enrolled():
            raise UsageError("the fleet's side of the agent does not run: see its log, then try again")
        raise UsageError(
            "this device belongs to no fleet, so it cannot tell a genuine bundle from another: enroll it once"
            " ('skerry-agent enroll'), or import a model file with --name, which then stands below local/"
        )

    async def activate(self, name: str) -> dict[str, Any]:
        """Serve a local artifact in its slot ``local/NAME``.

        Raises:
            UsageError: It is not installed, or came from the fleet, which alone activates those.
        """
        artifact = await self.registry.find(name)
        if artifact.signed:
            raise UsageError(
                f"{artifact.ref} belongs to the fleet, and a channel decides when it is active;"
                f" it answers as '{artifact.ref}' already"
            )
        slot = local_slot(artifact.ref)
        before = next((s.active for s in await self.registry.slots() if s.name == slot), None)
        changed = await self.registry.activate_local(artifact.ref)
        await self._settle(before)
        return {"slot": _slot_entry(changed)}

    async def rollback(self, name: str) -> dict[str, Any]:
        """Go back to the version before, in the slot that a name stands for.

        Raises:
            UsageError: There is no such slot, or nothing to go back to.
        """
        slot = await self._slot(name)
        fleet = self.fleet()
        if fleet is not None and not slot.name.startswith(LOCAL_PREFIX):
            await fleet.rollback(slot.name)
            return {"slot": _slot_entry(await self._slot(slot.name))}
        changed = await self.registry.rollback(slot.name)
        await self._settle(slot.active)
        return {"slot": _slot_entry(changed)}

    async def remove(self, name: str) -> dict[str, Any]:
        """Remove an artifact that is neither active nor the one before.

        Raises:
            UsageError: It is in use, or not installed.
        """
        artifact = await self.registry.find(name)
        await self.registry.remove(artifact.ref)
        return {"ref": artifact.ref}

    async def pin(self, name: str) -> dict[str, Any]:
        """Keep a model loaded, also after a restart of the daemon.

        Raises:
            UsageError: No model has that name.
        """
        await self._pins().add(name)
        return {"pinned": list(self._pins().names())}

    async def unpin(self, name: str) -> dict[str, Any]:
        """Treat a pinned model like any other again.

        Raises:
            UsageError: It is not pinned, or the settings pin it.
        """
        await self._pins().remove(name)
        return {"pinned": list(self._pins().names())}

    def _pins(self) -> PinnedModels:
        if self.pins is None:
            raise UsageError("this agent keeps no pins")
        return self.pins

    def _in_memory(self) -> dict[str, list[dict[str, Any]]]:
        """What the runtime knows of each file, by digest."""
        found: dict[str, list[dict[str, Any]]] = {}
        for status in self.pool.status() if self.pool else []:
            found.setdefault(status.sha256, []).append(_runner_entry(status))
        return found

    def _memory(self) -> dict[str, int] | None:
        if self.pool is None:
            return None
        metrics = self.pool.metrics()
        return {"budget_bytes": metrics.memory_budget_bytes, "loaded_bytes": metrics.loaded_bytes}

    def _check_local_allowed(self) -> None:
        if not self.allow_local():
            raise UsageError(
                "this device is enrolled and takes signed models only; to allow local ones set"
                " registry.allow_local_when_enrolled = true in its settings"
            )

    async def token_create(self, label: str = "") -> dict[str, Any]:
        """Make a token of the local API; the secret is shown this once.

        Raises:
            UsageError: The label cannot be used.
        """
        token, secret = await self.tokens.create(label)
        await self.outbox.emit("api_token_created", audit=True, token=token.id, label=token.label)
        return {**_token_entry(token), "token": secret}

    async def token_list(self) -> dict[str, Any]:
        """The tokens of the local API, without their secrets."""
        return {"tokens": [_token_entry(token) for token in self.tokens.tokens()]}

    async def token_revoke(self, token_id: str) -> dict[str, Any]:
        """End a token.

        Raises:
            UsageError: There is no such token.
        """
        token = await self.tokens.revoke(token_id)
        await self.outbox.emit("api_token_revoked", audit=True, token=token.id, label=token.label)
        return _token_entry(token)

    async def _slot(self, name: str) -> Slot:
        slots = await self.registry.slots()
        for wanted in (name, f"{LOCAL_PREFIX}{name}"):
            for slot in slots:
                if slot.name == wanted:
                    return slot
        line = [s for s in slots if s.name.partition("/")[0] == name]
        if len(line) == 1:
            return line[0]
        known = ", ".join(s.name for s in slots) or "none yet"
        raise UsageError(f"no slot {name!r} on this device; there are: {known}")

    async def _settle(self, before: InstalledArtifact | None) -> None:
        if self.settle is not None:
            await self.settle(before)


def _import_entry(artifact: InstalledArtifact) -> dict[str, Any]:
    return {"ref": artifact.ref, "sha256": artifact.file_sha256, "bytes": artifact.length}


def _slot_entry(slot: Slot) -> dict[str, Any]:
    return {
        "name": slot.name,
        "active": slot.active.ref if slot.active else None,
        "adapters": [adapter.ref for adapter in slot.adapters],
        "previous": slot.previous.ref if slot.previous else None,
        "previous_adapters": [adapter.ref for adapter in slot.previous_adapters],
    }


def _runner_entry(status: ModelStatus) -> dict[str, Any]:
    return {
        "state": status.state,
        "role": status.role,
        "memory_bytes": status.memory_bytes,
        "predicted_bytes": status.predicted_bytes,
        "measured_bytes": status.measured_bytes,
        "restarts": status.restarts,
        "keep_alive_left_s": status.keep_alive_left_s,
        "retry_after_s": status.retry_after_s,
        "leases": status.leases,
        "load_fraction": status.load_fraction,
        "last_error": status.last_error,
    }


def _token_entry(token: ApiToken) -> dict[str, Any]:
    return {"id": token.id, "label": token.label, "created_at": token.created_at}
