"""Files of the repository that this device has, and that resemble one that it needs.

A role's next version is the last one with a line more; a manifest resembles that of another version of the
same artifact, of which it has most hashes. So what is read against them costs what changed.
"""

from typing import NamedTuple

from skerry_agent.trust.state import TrustState, consistent_name
from skerry_agent.trust.target_cache import TargetCache
from skerry_protocol.names import TRUST_TARGET


class HeldFile(NamedTuple):
    """A file by the name that a TUF client asks for, and its bytes."""

    name: str
    content: bytes


def find_similar(name: str, state: TrustState, cache: TargetCache) -> HeldFile | None:
    """The held file that resembles ``name`` most. Blocks.

    Args:
        name: Of the file that will be read, such as ``4.models.json`` or ``models/NAME/<sha256>.2.json``.
        state: What is trusted now.
        cache: Targets that are on the disk.
    """
    folder, _, base = name.rpartition("/")
    if not folder:
        return _former_metadata(base, state)
    if folder == TRUST_TARGET.rpartition("/")[0]:
        return _former_trust_document(state)
    refs = {ref.sha256: ref for ref in state.metadata.targets_in(folder)}
    latest = cache.latest(refs)
    content = cache.read(latest) if latest is not None else None
    if latest is None or content is None:
        return None
    return HeldFile(consistent_name(refs[latest]), content)


def _former_metadata(base: str, state: TrustState) -> HeldFile | None:
    role = base.partition(".")[2].removesuffix(".json")
    if role == "root":
        root = state.files.roots[state.files.roots_used - 1]
        return HeldFile(f"{state.metadata.root_version}.root.json", root)
    content, version = state.files.roles.get(role), state.metadata.versions().get(role)
    if content is None or version is None or role == "timestamp":
        return None
    return HeldFile(f"{version}.{role}.json", content)


def _former_trust_document(state: TrustState) -> HeldFile | None:
    ref = state.metadata.top_level_target(TRUST_TARGET)
    if ref is None or state.files.trust_document is None:
        return None
    return HeldFile(consistent_name(ref), state.files.trust_document)
