"""Which artifact a name means. Pure.

In this order: a channel (``assistant/stable``), its line (``assistant``), an artifact (``name``,
``name@version``), and last what a person imported (``local/name`` may be called ``name``).
"""

from collections.abc import Iterable, Mapping, Sequence

from skerry_agent.registry.artifact import InstalledArtifact, Slot
from skerry_agent.registry.errors import ModelNotFoundError
from skerry_protocol.names import LOCAL_PREFIX

PREFERRED_TRACK = "stable"


def resolve(
    name: str, slots: Mapping[str, Slot], artifacts: Sequence[InstalledArtifact]
) -> InstalledArtifact:
    """The artifact that a name means.

    A slot means its active version, or its previous one when the active one's file is missing.

    Raises:
        ModelNotFoundError: There is none; the message lists the names that exist.
    """
    found = _candidates(name, slots, artifacts)
    usable = next((artifact for artifact in found if not artifact.broken), None)
    if usable is not None:
        return usable
    if found:
        raise ModelNotFoundError(
            f"the file of {found[0].ref} is missing or damaged: import it again, or wait for the fleet"
        )
    names = known_names(slots, artifacts)
    there = f"there is {', '.join(names)}" if names else "nothing is installed yet; import a model first"
    raise ModelNotFoundError(f"no model is called {name!r}: {there}")


def known_names(slots: Mapping[str, Slot], artifacts: Iterable[InstalledArtifact]) -> list[str]:
    """Slots with something active, then artifacts, each sorted."""
    served = sorted(name for name, slot in slots.items() if slot.active is not None)
    return served + sorted({artifact.ref for artifact in artifacts})


def _candidates(
    name: str, slots: Mapping[str, Slot], artifacts: Sequence[InstalledArtifact]
) -> list[InstalledArtifact]:
    """All that the name can mean, best first."""
    found = _of_slot(slots.get(name))
    if "/" not in name and "@" not in name:
        for channel in sorted(slots, key=lambda s: (not s.endswith("/" + PREFERRED_TRACK), s)):
            if channel.partition("/")[0] == name and not channel.startswith(LOCAL_PREFIX):
                found += _of_slot(slots[channel])
    found += _of_artifacts(name, slots, artifacts)
    if not name.startswith(LOCAL_PREFIX):
        local = LOCAL_PREFIX + name
        found += _of_slot(slots.get(local)) + _of_artifacts(local, slots, artifacts)
    return found


def _of_slot(slot: Slot | None) -> list[InstalledArtifact]:
    return [] if slot is None else [a for a in (slot.active, slot.previous) if a is not None]


def _of_artifacts(
    name: str, slots: Mapping[str, Slot], artifacts: Sequence[InstalledArtifact]
) -> list[InstalledArtifact]:
    """By ``[local/]name[@version]``: active ones first, then the latest installed."""
    active = {(s.active.ref, s.active.file_sha256) for s in slots.values() if s.active is not None}
    matching = [a for a in artifacts if name in (a.ref, a.ref.rpartition("@")[0])]
    return sorted(matching, key=lambda a: ((a.ref, a.file_sha256) not in active, -a.installed_at))
