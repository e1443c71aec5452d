"""Ollama's options: in its requests, and as the parameters of a preset in any dialect.

Source: https://docs.ollama.com/modelfile (valid parameters and values).
"""

from typing import Any

import msgspec

from skerry_agent.api.errors import BadRequestError

SEEDS = 2**32 - 1


class ModelOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Options that change an answer. Others of Ollama's say how to compute, and have no effect here."""

    num_predict: int | None = None
    num_ctx: int | None = None
    seed: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_last_n: int | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: str | list[str] | None = None
    # Known, and refused when they are on.
    mirostat: int | None = None
    tfs_z: float | None = None
    draft_num_predict: int | None = None

    def sampling(self) -> dict[str, Any]:
        """What is given of the runtime's sampling parameters, by their names there.

        Raises:
            BadRequestError: An option that cannot be honoured.
        """
        if self.mirostat:
            raise BadRequestError("options.mirostat: this is not supported here", "options")
        if self.tfs_z not in (None, 1.0):
            raise BadRequestError("options.tfs_z: this is not supported here", "options")
        given = {
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "min_p": self.min_p,
            "typical_p": self.typical_p,
            "repeat_window": self.repeat_last_n,
            "repeat_penalty": self.repeat_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            # Ollama's -1 is a random one.
            "seed": None if self.seed is None or self.seed < 0 else self.seed % SEEDS,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def max_tokens(self) -> int | None:
        """The longest answer in tokens; Ollama's -1, -2 and 0 are as long as the context holds."""
        return self.num_predict if self.num_predict is not None and self.num_predict > 0 else None

    @property
    def context_tokens(self) -> int | None:
        """Prompt and answer together, in tokens; the loaded context bounds it. Nothing is loaded anew for it.

        Ollama would: then any request could unload the model under everybody else's.
        """
        return self.num_ctx if self.num_ctx is not None and self.num_ctx > 0 else None


def read_options(given: dict[str, Any] | None) -> ModelOptions:
    """Options from a request.

    Raises:
        BadRequestError: One has the wrong type; names it.
    """
    present = {name: value for name, value in (given or {}).items() if value is not None}
    try:
        return msgspec.convert(present, ModelOptions)
    except msgspec.ValidationError as error:
        raise BadRequestError(f"options: {error}", "options") from error


def over(defaults: ModelOptions, given: ModelOptions) -> ModelOptions:
    """Options with others where they give none."""
    changes = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not None}
    return msgspec.structs.replace(defaults, **changes)
