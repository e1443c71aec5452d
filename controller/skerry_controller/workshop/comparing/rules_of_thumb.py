"""The coarse rules that people learn of files and memory, to be shown beside what was measured."""

from typing import Final

from skerry_controller.workshop.library import Entry

BITS_PER_WEIGHT: Final = {"F16": 16.0, "Q8_0": 8.5, "Q4_0": 4.5}
"""Of a file, in the three steps of the rule: halves and halves again."""
MEMORY_FACTORS: Final = {"F16": 2.0, "Q8_0": 1.5, "Q4_0": 1.2}
"""Memory in use as a multiple of the file."""

_MIDDLE_8, _MIDDLE_4 = 11.0, 6.5


def step_of(entry: Entry) -> str:
    """The step of the rule that a file is nearest to, by its bits per weight."""
    bits = bits_per_weight(entry)
    if bits > _MIDDLE_8:
        return "F16"
    return "Q8_0" if bits > _MIDDLE_4 else "Q4_0"


def memory_by_rule(entry: Entry) -> float:
    """Bytes in use by the rule of thumb."""
    return entry.length * MEMORY_FACTORS[step_of(entry)]


def bits_per_weight(entry: Entry) -> float:
    """Of the whole tensors, scales and embeddings included."""
    parameters = entry.description.parameters
    return 8 * entry.description.weights_bytes / parameters if parameters else 0.0
