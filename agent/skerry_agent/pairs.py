"""From what the registry serves to what the runtime loads."""

from skerry_agent.registry import Pair
from skerry_agent.runtime import AdapterFile, ModelFile


def model_file(pair: Pair) -> ModelFile:
    """A model with its adapters, as the runtime takes it; its label is the model's."""
    adapters = tuple(AdapterFile(str(a.path), a.file_sha256, a.length) for a in pair.adapters)
    return ModelFile(pair.model.path, pair.model.file_sha256, pair.model.ref, adapters)
