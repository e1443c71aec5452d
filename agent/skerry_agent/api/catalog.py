"""From a client's name to a model on this device, and the preset that goes with it."""

from dataclasses import dataclass

from skerry_agent.api.names import canonical_name
from skerry_agent.api.ports import Models
from skerry_agent.api.presets import Preset, PresetStore
from skerry_agent.registry import InstalledArtifact, ModelNotFoundError
from skerry_agent.runtime import ModelFile
from skerry_protocol.names import LOCAL_PREFIX


@dataclass(frozen=True, slots=True)
class Served:
    """What a name stands for.

    Attributes:
        name: The name as the client wrote it.
    """

    name: str
    artifact: InstalledArtifact
    preset: Preset | None = None

    @property
    def model(self) -> ModelFile:
        """The file, as the runtime takes it."""
        return ModelFile(self.artifact.path, self.artifact.file_sha256, self.artifact.ref)

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
            artifact = await self.models.find(canonical)
        except ModelNotFoundError as error:
            preset = self.presets.get(canonical)
            if preset is None:
                raise self._not_found(error) from error
            artifact = await self._base(preset)
        if artifact.kind != "model":
            raise ModelNotFoundError(f"{artifact.ref} is no model but a {artifact.kind}: it cannot answer")
        return Served(name, artifact, preset)

    async def _base(self, preset: Preset) -> InstalledArtifact:
        try:
            return await self.models.find(preset.base)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(
                f"{preset.name} is built on {preset.base}, which is not on this device: {error}"
            ) from error

    def _not_found(self, error: ModelNotFoundError) -> ModelNotFoundError:
        names = [LOCAL_PREFIX + preset.name for preset in self.presets.all()]
        return ModelNotFoundError(", ".join([str(error), *names]))
