"""From a client's name to a model on this device, and the preset that goes with it."""

from dataclasses import dataclass

from skerry_agent.api.names import canonical_name
from skerry_agent.api.ports import Models
from skerry_agent.api.presets import Preset, PresetStore
from skerry_agent.pairs import model_file
from skerry_agent.registry import InstalledArtifact, ModelNotFoundError, Pair
from skerry_agent.runtime import ModelFile
from skerry_protocol.names import LOCAL_PREFIX


@dataclass(frozen=True, slots=True)
class Served:
    """What a name stands for.

    Attributes:
        name: The name as the client wrote it.
        artifact: The model.
        adapters: The LoRA adapters on it.
    """

    name: str
    artifact: InstalledArtifact
    preset: Preset | None = None
    adapters: tuple[InstalledArtifact, ...] = ()

    @property
    def model(self) -> ModelFile:
        """The file, as the runtime takes it."""
        return model_file(Pair(self.artifact, self.adapters))

    @property
    def has_chat_template(self) -> bool:
        """Whether the model can chat; unknown is taken for yes, and the runtime says no then."""
        return self.artifact.description.get("has_chat_template") is not False


class Catalog:
    """Names of models; what the registry knows wins over a preset."""

    def __init__(self, models: Models, presets: PresetStore) -> None:
        self.models = models
        self.presets = presets

    async def resolve(self, name: str) -> Served:
        """The model that a name in any dialect means.

        Raises:
            ModelNotFoundError: There is none; the message lists what exists.
        """
        canonical = canonical_name(name)
        preset = None
        try:
            pair = await self.models.find_pair(canonical)
        except ModelNotFoundError as error:
            preset = self.presets.get(canonical)
            if preset is None:
                raise self._not_found(error) from error
            pair = await self._base(preset)
        if pair.model.kind != "model":
            raise ModelNotFoundError(
                f"{pair.model.ref} is no model but a {pair.model.kind}: it cannot answer"
            )
        return Served(name, pair.model, preset, pair.adapters)

    async def _base(self, preset: Preset) -> Pair:
        try:
            return await self.models.find_pair(preset.base)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(
                f"{preset.name} is built on {preset.base}, which is not on this device: {error}"
            ) from error

    def _not_found(self, error: ModelNotFoundError) -> ModelNotFoundError:
        names = [LOCAL_PREFIX + preset.name for preset in self.presets.all()]
        return ModelNotFoundError(", ".join([str(error), *names]))
