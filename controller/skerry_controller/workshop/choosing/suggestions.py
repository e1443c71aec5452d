"""Quantizations that are not made yet, with the size that each would have. Pure."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from skerry_controller.workshop.choosing.expected import agent_memory
from skerry_controller.workshop.choosing.predicted_size import BASE_TYPES
from skerry_controller.workshop.choosing.wishes import Wishes
from skerry_controller.workshop.library import Entry
from skerry_protocol.gguf_types import WHOLE_TYPES

SHRINKS_BELOW = 0.97
"""A file that would hardly be smaller than its parent is not worth a quantization."""


class Suggestion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A quantization to make. Its speed is unknown until it is measured.

    Attributes:
        parent: ``NAME@VERSION`` to quantize.
        quantization: The type.
        predicted_length: Of its file, in bytes.
        predicted_memory_bytes: Of an agent's runner with the context that is asked for.
        fits: In the memory and disk that are given.
        parent_quantized: The parent lost something already, and both losses add up.
        best: The most bits that fit: to be tried first.
    """

    parent: str
    quantization: str
    predicted_length: int
    predicted_memory_bytes: int
    fits: bool
    parent_quantized: bool = False
    best: bool = False

    @property
    def command(self) -> str:
        """What makes it."""
        return f"skerry model quantize {self.parent} {self.quantization}"


def suggest(
    entries: Sequence[Entry],
    wishes: Wishes,
    predict: Callable[[Entry, str], int],
    known: Mapping[str, Entry],
) -> list[Suggestion]:
    """For each model that was not itself quantized here: the types that nobody made of it yet.

    Args:
        entries: What is chosen from.
        wishes: Memory, disk and context.
        predict: Bytes of an entry's file in another quantization.
        known: All of the library by ``NAME@VERSION``.
    """
    found = []
    for root in entries:
        if root.lineage is not None and root.lineage.method == "quantize":
            continue
        if not _may_do(root, wishes):
            continue
        made = {
            e.description.quantization
            for e in known.values()
            if e.lineage and e.lineage.parent == str(root.ref)
        }
        made.add(root.description.quantization)
        of_root = [
            _suggestion(root, kind, predict(root, kind), wishes)
            for kind in reversed(BASE_TYPES)
            if kind not in made
        ]
        smaller = [each for each in of_root if each.predicted_length < SHRINKS_BELOW * root.length]
        first = next((each for each in smaller if each.fits and not each.quantization.startswith("TQ")), None)
        found += [msgspec.structs.replace(each, best=each is first) for each in smaller]
    return found


def _may_do(root: Entry, wishes: Wishes) -> bool:
    described = root.description
    return described.context_length >= wishes.context_tokens and (
        wishes.task != "chat" or described.has_chat_template
    )


def _suggestion(root: Entry, kind: str, length: int, wishes: Wishes) -> Suggestion:
    saved = root.length - length
    memory = round(agent_memory(root, wishes.context_tokens).value) - saved
    fits = (wishes.memory_bytes is None or memory <= wishes.memory_bytes) and (
        wishes.disk_bytes is None or length <= wishes.disk_bytes
    )
    lossy = root.description.dominant_tensor_type not in WHOLE_TYPES
    return Suggestion(str(root.ref), kind, length, memory, fits, parent_quantized=lossy)
