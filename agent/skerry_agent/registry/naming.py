"""Which artifact a name means. Pure.

In this order: a channel (``assistant/stable``), its line (``assistant``), an artifact (``name``,
``name@version``), and last what a person imported (``local/name`` may be called ``name``).

To a request, a name means a model and the adapters on it: a slot all that serves there, a model itself alone,
an adapter its base with it, and ``model+adapter`` just these.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from skerry_agent.registry.artifact import InstalledArtifact, Pair, Slot
from skerry_agent.registry.errors import ModelNotFoundError
from skerry_protocol.names import LOCAL_PREFIX

PREFERRED_TRACK = "stable"
JOINT = "+"


class _Meaning(NamedTuple):
    """What a name can mean: an artifact, and what answers under that name."""

    artifact: InstalledArtifact
    pair: Pair | None
    """None: the base of an adapter is not here."""

    @property
    def broken(self) -> bool:
        """Whether the artifact, or something that it needs, is missing."""
        return self.artifact.broken or (self.pair is not None and self.pair.broken)


def resolve(
    name: str, slots: Mapping[str, Slot], artifacts: Sequence[InstalledArtifact]
) -> InstalledArtifact:
    """The artifact that a name means.

    A slot means its active version, or its previous one when the active one's file is missing.

    Raises:
        ModelNotFoundError: There is none; the message lists the names that exist.
    """
    return _resolve(name, slots, artifacts).artifact


def resolve_pair(name: str, slots: Mapping[str, Slot], artifacts: Sequence[InstalledArtifact]) -> Pair:
    """The model, and the adapters on it, that answer under a name.

    Raises:
        ModelNotFoundError: There is none, or an adapter's base is another one or not here.
    """
    first, *others = name.split(JOINT)
    if not others:
        meaning = _resolve(name, slots, artifacts)
        if meaning.pair is None:
            raise ModelNotFoundError(
                f"{meaning.artifact.ref} is an adapter whose base is not on this device: the model file with"
                f" the SHA-256 {meaning.artifact.base_sha256}"
            )
        return meaning.pair
    base = _resolve(first, slots, artifacts)
    model = base.pair.model if base.pair is not None else base.artifact
    adapters = tuple(resolve(other, slots, artifacts) for other in others)
    for adapter in adapters:
        if adapter.base_sha256 != model.file_sha256:
            what = "is no adapter" if adapter.base_sha256 is None else f"was not made for {model.ref}"
            raise ModelNotFoundError(f"no model is called {name!r}: {adapter.ref} {what}")
    return Pair(model, adapters)


def _resolve(name: str, slots: Mapping[str, Slot], artifacts: Sequence[InstalledArtifact]) -> _Meaning:
    found = _candidates(name, slots, artifacts)
    usable = next((meaning for meaning in found if not meaning.broken), None)
    if usable is not None:
        return usable
    if found:
        raise ModelNotFoundError(
            f"the file of {found[0].artifact.ref} is missing or damaged: import it again, or wait for the"
            " fleet"
        )
    names = known_names(slots, artifacts)
    there = f"there is {', '.join(names)}" if names else "nothing is installed yet; import a model first"
    raise ModelNotFoundError(f"no model is called {name!r}: {there}")


def known_names(slots: Mapping[str, Slot], artifacts: Iterable[InstalledArtifact]) -> list[str]:
    """Slots with something active, then artifacts, each sorted."""
    served = sorted(name for name, slot in slots.items() if slot.active is not None)
    return served + sorted({artifact.ref for artifact in artifacts})


def base_of(adapter: InstalledArtifact, artifacts: Iterable[InstalledArtifact]) -> InstalledArtifact | None:
    """The model on this device that an adapter was made for; a whole one if there is one."""
    bases = [a for a in artifacts if a.file_sha256 == adapter.base_sha256 and a.base_sha256 is None]
    return min(bases, key=lambda a: a.broken, default=None)


def _candidates(
    name: str, slots: Mapping[str, Slot], artifacts: Sequence[InstalledArtifact]
) -> list[_Meaning]:
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


def _of_slot(slot: Slot | None) -> list[_Meaning]:
    if slot is None:
        return []
    pairs = [pair for pair in (slot.serving, slot.before) if pair is not None]
    if slot.name.startswith(LOCAL_PREFIX):
        # The slot has the name of what a person imported, which may be an adapter.
        return [_Meaning(pair.parts[-1], pair) for pair in pairs]
    return [_Meaning(pair.model, pair) for pair in pairs]


def _of_artifacts(
    name: str, slots: Mapping[str, Slot], artifacts: Sequence[InstalledArtifact]
) -> list[_Meaning]:
    """By ``[local/]name[@version]``: active ones first, then the latest installed."""
    serving = (s.serving for s in slots.values() if s.serving is not None)
    active = {(part.ref, part.file_sha256) for pair in serving for part in pair.parts}
    matching = [a for a in artifacts if name in (a.ref, a.ref.rpartition("@")[0])]
    ordered = sorted(matching, key=lambda a: ((a.ref, a.file_sha256) not in active, -a.installed_at))
    return [_Meaning(artifact, _pair_of(artifact, artifacts)) for artifact in ordered]


def _pair_of(artifact: InstalledArtifact, artifacts: Sequence[InstalledArtifact]) -> Pair | None:
    if artifact.base_sha256 is None:
        return Pair(artifact)
    base = base_of(artifact, artifacts)
    return None if base is None else Pair(base, (artifact,))
