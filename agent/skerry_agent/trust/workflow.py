"""The client workflow of TUF as a function of values: which file next, and what came of it all.

:meth:`Refresh.steps` is a generator. It yields what it wants to read, is sent the bytes (or None: there is
no such file), and returns the verified state. It does no I/O: a refresh over the network, a reload of the
files on disk and a test drive the same steps.

Source: TUF specification 1.0.34, section 5, https://theupdateframework.github.io/specification/latest/
"""

import hashlib
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace

from skerry_agent.trust.errors import MetadataRefusedError
from skerry_agent.trust.limits import TrustLimits
from skerry_agent.trust.metadata_set import MetadataSet
from skerry_agent.trust.state import MetadataFiles, TrustState, Wanted, consistent_name
from skerry_protocol.errors import ProtocolError
from skerry_protocol.names import TRUST_TARGET
from skerry_protocol.trust_document import TrustDocument, decode_trust_document

_LATEST_ISSUE_S = 4_102_444_800
"""2100-01-01: beyond it stands a unit mistaken, and every certificate and role would count as expired."""


Steps = Generator[Wanted, bytes | None, TrustState]


class Refresh:
    """One pass through the client workflow, starting from what is held.

    Attributes:
        roots: The verified chain of roots so far; also worth keeping when a later step fails (5.3.8).
    """

    def __init__(self, held: MetadataFiles, reference_time_s: float, limits: TrustLimits) -> None:
        self._held = held
        self._reference_time = reference_time_s
        self._limits = limits
        self._roles: dict[str, bytes] = {}
        self.roots: tuple[bytes, ...] = held.roots

    def steps(self) -> Steps:
        """The workflow.

        Raises:
            MetadataRefusedError: Something did not verify; what was held stays in force.
        """
        verified = yield from self._root()
        yield from self._timestamp(verified)
        yield from self._snapshot(verified)
        yield from self._targets(verified)
        data, document = yield from self._trust_document(verified)
        files = MetadataFiles(self.roots, len(self.roots), self._roles, data, self._reference_time)
        return TrustState(verified, document, files)

    def _root(self) -> Generator[Wanted, bytes | None, MetadataSet]:
        verified = MetadataSet(self._held.roots[0], self._reference_time)
        for data in self._held.roots[1:]:
            verified.update_root(data)
        for _ in range(self._limits.max_root_rotations):
            name = f"{verified.root_version + 1}.root.json"
            answer = yield Wanted(name, self._limits.max_root_bytes)
            if answer is None:
                break
            verified.update_root(_within(answer, self._limits.max_root_bytes, "root"))
            self.roots = (*self.roots, answer)
        return verified

    def _timestamp(self, verified: MetadataSet) -> Generator[Wanted, bytes | None, None]:
        held = self._held.roles.get("timestamp")
        if held is not None:
            # Refused when a new root changed the timestamp's key (5.3.11): then the past does not count.
            with suppress(MetadataRefusedError):
                verified.update_timestamp(held)
        limit = self._limits.max_timestamp_bytes
        answer = yield Wanted("timestamp.json", limit)
        data = _within(_needed(answer, "timestamp", "timestamp.json"), limit, "timestamp")
        is_newer = verified.update_timestamp(data)
        self._roles["timestamp"] = data if is_newer or held is None else held

    def _snapshot(self, verified: MetadataSet) -> Generator[Wanted, bytes | None, None]:
        held = self._held.roles.get("snapshot")
        if held is not None:
            with suppress(MetadataRefusedError):
                verified.update_snapshot(held, held=True)
                self._roles["snapshot"] = held
                return
        version, length = verified.snapshot_file
        data = yield from self._file("snapshot", version, length, self._limits.max_snapshot_bytes)
        verified.update_snapshot(data)
        self._roles["snapshot"] = data

    def _targets(self, verified: MetadataSet) -> Generator[Wanted, bytes | None, None]:
        waiting = [("targets", "root")]
        while waiting:
            role, parent = waiting.pop(0)
            listed = verified.role_file(role)
            if role in self._roles or (listed is None and role != "targets"):
                continue  # a role may be delegated before it has its first metadata
            if listed is None:
                raise MetadataRefusedError("metadata_refused", role, "the snapshot lists no targets.json")
            if len(self._roles) > self._limits.max_delegated_roles + 3:
                raise MetadataRefusedError(
                    "metadata_too_large",
                    role,
                    f"the repository has more than {self._limits.max_delegated_roles} delegated roles",
                )
            yield from self._role(verified, role, parent, listed)
            waiting += [(child, role) for child in verified.delegated_by(role)]

    def _role(
        self, verified: MetadataSet, role: str, parent: str, listed: tuple[int, int | None]
    ) -> Generator[Wanted, bytes | None, None]:
        held = self._held.roles.get(role)
        if held is not None:
            with suppress(MetadataRefusedError):
                verified.update_role(role, parent, held)
                self._roles[role] = held
                return
        data = yield from self._file(role, *listed, self._limits.max_targets_bytes)
        verified.update_role(role, parent, data)
        self._roles[role] = data

    def _file(
        self, role: str, version: int, length: int | None, limit: int
    ) -> Generator[Wanted, bytes | None, bytes]:
        if length is not None and length > limit:
            raise _too_large(role, length, limit)
        name = f"{version}.{role}.json"
        max_bytes = limit if length is None else length
        answer = yield Wanted(name, max_bytes)
        return _within(_needed(answer, role, name), max_bytes, role)

    def _trust_document(
        self, verified: MetadataSet
    ) -> Generator[Wanted, bytes | None, tuple[bytes, TrustDocument]]:
        entry = verified.top_level_target(TRUST_TARGET)
        if entry is None:
            raise _document_refused(f"the top-level targets role does not list {TRUST_TARGET}")
        held = self._held.trust_document
        data = held
        if data is None or hashlib.sha256(data).hexdigest() != entry.sha256:
            if entry.length > self._limits.max_target_bytes:
                raise _document_refused(
                    f"it has {entry.length} bytes; the limit is {self._limits.max_target_bytes}"
                )
            name = consistent_name(entry)
            answer = yield Wanted(name, entry.length)
            data = _needed(answer, "targets", name)
            if len(data) != entry.length or hashlib.sha256(data).hexdigest() != entry.sha256:
                raise _document_refused("its bytes are not those that the targets role signed")
        document = _decode(data)
        if held is not None and held != data:
            _check_follows(_decode(held), document)
        return data, document


def _decode(data: bytes) -> TrustDocument:
    try:
        document = decode_trust_document(data)
    except ProtocolError as error:
        raise _document_refused(str(error)) from error
    if not 0 < document.issued_at < _LATEST_ISSUE_S:
        raise _document_refused(f"{document.issued_at} is not an issue time in seconds of this century")
    return document


def _check_follows(held: TrustDocument, new: TrustDocument) -> None:
    if new.fleet != held.fleet:
        raise _document_refused("it is of another fleet")
    if new.epoch < held.epoch:
        raise MetadataRefusedError(
            "trust_epoch_rollback",
            "targets",
            f"the new trust document has epoch {new.epoch}; this device has seen {held.epoch}",
        )


def _document_refused(why: str) -> MetadataRefusedError:
    return MetadataRefusedError("trust_document_refused", "targets", f"the trust document was refused: {why}")


def _needed(answer: bytes | None, role: str, name: str) -> bytes:
    if answer is None:
        raise MetadataRefusedError("metadata_missing", role, f"the repository has no {name}")
    return answer


def _within(data: bytes, limit: int, role: str) -> bytes:
    if len(data) > limit:
        raise _too_large(role, len(data), limit)
    return data


def _too_large(role: str, length: int, limit: int) -> MetadataRefusedError:
    return MetadataRefusedError(
        "metadata_too_large",
        role,
        f"the repository's {role} metadata has {length} bytes; {limit} are allowed",
    )


def advance(steps: Steps, answer: bytes | None) -> Wanted | TrustState:
    """One step: the next file that is wanted, or the end. Unlike StopIteration, it can leave a thread."""
    try:
        return steps.send(answer)
    except StopIteration as stop:
        state: TrustState = stop.value
        return state


def reload(files: MetadataFiles, limits: TrustLimits) -> TrustState:
    """Verify stored files again, at the reference time of the refresh that stored them.

    Raises:
        MetadataRefusedError: They are damaged.
    """
    used = replace(files, roots=files.roots[: files.roots_used])
    steps = Refresh(used, files.reference_time_s, limits).steps()
    step = advance(steps, None)
    while isinstance(step, Wanted):
        # Everything is held, so nothing but the end of the root chain and the timestamp is asked for.
        step = advance(steps, files.roles.get("timestamp") if step.name == "timestamp.json" else None)
    return step._replace(files=files)
