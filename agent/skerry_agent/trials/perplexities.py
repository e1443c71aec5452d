"""The perplexity of the agent's own text by model file, measured once for each."""

import asyncio
import functools
import hashlib
import math
from importlib import resources
from pathlib import Path

import msgspec
import structlog

from skerry_agent.durable import write_atomic
from skerry_agent.runtime import ModelFile, Runner

log = structlog.get_logger(__name__)

MAX_KEPT = 100


class _Measured(msgspec.Struct):
    """The file's content: which text, and perplexities by SHA-256 of the model file."""

    text_sha256: str = ""
    by_file: dict[str, float] = {}


@functools.cache
def bundled_text() -> str:
    """Beginnings of works in the public domain: Alice in Wonderland, the Gettysburg Address, Moby-Dick."""
    return resources.files("skerry_agent.trials").joinpath("perplexity.txt").read_text("utf-8")


class Perplexities:
    """Measures, and remembers what was measured on this device.

    Args:
        path: Where to remember it; what is damaged there is measured again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text_sha256 = hashlib.sha256(bundled_text().encode()).hexdigest()

    def known(self, model: ModelFile) -> float | None:
        """The perplexity of a model with its adapters, if it was measured with this text."""
        return self._read().by_file.get(_key(model))

    async def measure(self, runner: Runner, model: ModelFile) -> float:
        """Measure it for a model with its adapters, on a runner of its file, and remember it.

        Raises:
            As ``Runner.generate``.
        """
        tokens, nats = await runner.score(bundled_text(), model.adapters)
        try:
            perplexity = round(math.exp(nats / max(1, tokens)), 4)
        except OverflowError:
            perplexity = 1e300
        await asyncio.to_thread(self._remember, _key(model), perplexity)
        return perplexity

    def _read(self) -> _Measured:
        try:
            measured = msgspec.json.decode(self._path.read_bytes(), type=_Measured)
        except (OSError, msgspec.DecodeError):
            measured = _Measured()
        return measured if measured.text_sha256 == self._text_sha256 else _Measured(self._text_sha256)

    def _remember(self, name: str, perplexity: float) -> None:
        by_file = {key: value for key, value in self._read().by_file.items() if key != name}
        kept = dict([*by_file.items(), (name, perplexity)][-MAX_KEPT:])
        try:
            write_atomic(self._path, msgspec.json.encode(_Measured(self._text_sha256, kept)))
        except OSError as error:
            log.warning("perplexity_not_remembered", error=str(error))


def _key(model: ModelFile) -> str:
    return "+".join((model.sha256, *(adapter.sha256 for adapter in model.adapters)))
