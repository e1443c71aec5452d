"""What a model file's header says about chatting: its template, and what that knows."""

import asyncio
import mmap
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skerry_agent.errors import WorldError
from skerry_agent.registry import InstalledArtifact
from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_header import ArraySpan, read_gguf_header

KEPT_HEADERS = 8
TEMPLATE = "tokenizer.chat_template"


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """Facts of one file.

    Attributes:
        template: The chat template; "" for none.
        scalars: Metadata that are no lists.
    """

    template: str
    scalars: Mapping[str, str | int | float | bool]

    @property
    def knows_tools(self) -> bool:
        """Whether the template shows tools to the model."""
        return "tools" in self.template

    @property
    def thinks(self) -> bool:
        """Whether the template knows of thinking aloud."""
        return "enable_thinking" in self.template or "<think>" in self.template


class ModelHeaders:
    """Reads headers, each once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, HeaderFacts] = OrderedDict()

    async def facts(self, artifact: InstalledArtifact) -> HeaderFacts:
        """The facts of an artifact's file.

        Raises:
            WorldError: It cannot be read.
        """
        kept = self._kept.get(artifact.file_sha256)
        if kept is not None:
            return kept
        try:
            facts = await asyncio.to_thread(_read, artifact.path)
        except (OSError, ModelFileError) as error:
            raise WorldError(f"the header of {artifact.ref} cannot be read: {error}") from error
        self._kept[artifact.file_sha256] = facts
        while len(self._kept) > KEPT_HEADERS:
            self._kept.popitem(last=False)
        return facts


def _read(path: Path) -> HeaderFacts:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        header = read_gguf_header(view)
        scalars = {
            key: value for key, value in header.metadata.items() if not isinstance(value, ArraySpan | tuple)
        }
    template = scalars.pop(TEMPLATE, "")
    return HeaderFacts(template if isinstance(template, str) else "", scalars)
