"""Fields that OpenAI's chat and text completions share, with what llama-server's and vLLM's clients add."""

from typing import Any

import msgspec

from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.options import SEEDS, ModelOptions
from skerry_agent.runtime import Sampling

MAX_CHOICES = 128
GRAMMAR_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


class StreamOptions(msgspec.Struct, frozen=True):
    """Options of streaming."""

    include_usage: bool = False


class StructuredOutputs(msgspec.Struct, frozen=True):
    """vLLM's way to ask for a form."""

    json: str | dict[str, Any] | None = None
    grammar: str | None = None
    choice: list[str] | None = None
    regex: str | None = None
    structural_tag: str | None = None


class SamplingFields(msgspec.Struct, frozen=True, kw_only=True):
    """What both kinds of completions share."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    n_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, float] | None = None
    # llama-server's and vLLM's.
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    repetition_penalty: float | None = None
    repeat_last_n: int | None = None
    ignore_eos: bool | None = None
    cache_prompt: bool | None = None
    grammar: str | None = None
    json_schema: dict[str, Any] | None = None
    guided_json: str | dict[str, Any] | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    guided_regex: str | None = None
    structured_outputs: StructuredOutputs | None = None
    # Known, and refused.
    mirostat: int | None = None
    dry_multiplier: float | None = None
    xtc_probability: float | None = None
    dynatemp_range: float | None = None
    use_beam_search: bool | None = None

    def choices(self) -> int:
        """How many choices each prompt gets.

        Raises:
            BadRequestError: None, or too many.
        """
        n = 1 if self.n is None else self.n
        if not 1 <= n <= MAX_CHOICES:
            raise BadRequestError(f"n is {n}: it must be from 1 to {MAX_CHOICES}", "n")
        return n

    def sampling(self, choice: int, defaults: ModelOptions) -> Sampling:
        """The sampling parameters of one choice; temperature is 1 where OpenAI's default is.

        Raises:
            BadRequestError: ``logit_bias`` has a key that is no token id.
        """
        given = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": None if self.top_k is None else max(self.top_k, 0),
            "min_p": self.min_p,
            "typical_p": self.typical_p,
            "repeat_penalty": self.repeat_penalty
            if self.repeat_penalty is not None
            else self.repetition_penalty,
            "repeat_window": self.repeat_last_n,
            "frequency_penalty": self.frequency_penalty,
            "presence_penalty": self.presence_penalty,
            # Choices of one seed differ, and are the same again the next time.
            "seed": None if self.seed is None else (self.seed + choice) % SEEDS,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        base = Sampling(temperature=1.0, logit_bias=self._biases())
        return msgspec.structs.replace(base, **{**defaults.sampling(), **chosen})

    def stops(self, defaults: ModelOptions) -> tuple[str, ...]:
        """Stop strings as a tuple."""
        if self.stop is None:
            return defaults.stops
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def limit(self, defaults: ModelOptions) -> int | None:
        """The longest answer in tokens; None for as long as the context holds."""
        if self.max_tokens is not None:
            return self.max_tokens
        if self.n_predict is not None:
            return self.n_predict if self.n_predict >= 0 else None
        return defaults.max_tokens

    def form(self) -> tuple[dict[str, Any] | None, str | None]:
        """The JSON schema and the GBNF grammar that are asked for, by whichever name.

        Raises:
            BadRequestError: More than one form is asked for, or one that there is not.
        """
        outputs = self.structured_outputs or StructuredOutputs()
        self._refuse(outputs)
        schemas = [self.json_schema, _schema(self.guided_json, "guided_json")]
        schemas.append(_schema(outputs.json, "structured_outputs"))
        grammars = [self.grammar, self.guided_grammar, outputs.grammar]
        grammars += [_choice_grammar(self.guided_choice), _choice_grammar(outputs.choice)]
        found: list[Any] = [form for form in (*schemas, *grammars) if form is not None]
        if len(found) > 1:
            raise BadRequestError("ask for one form of the answer: a schema, a grammar or choices", "grammar")
        if not found:
            return None, None
        return (None, found[0]) if isinstance(found[0], str) else (found[0], None)

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    def _biases(self) -> tuple[tuple[int, float], ...]:
        biases = []
        for token, bias in (self.logit_bias or {}).items():
            if not token.isascii() or not token.isdigit():
                raise BadRequestError(f"logit_bias: {token!r} is no token id", "logit_bias")
            biases.append((int(token[:20]), bias))
        return tuple(biases)

    def _refuse(self, outputs: StructuredOutputs) -> None:
        refuse_unsupported(
            {
                "mirostat": bool(self.mirostat),
                "dry_multiplier": bool(self.dry_multiplier),
                "xtc_probability": bool(self.xtc_probability),
                "dynatemp_range": bool(self.dynatemp_range),
                "use_beam_search": bool(self.use_beam_search),
                "guided_regex": self.guided_regex is not None,
                "structured_outputs": outputs.regex is not None or outputs.structural_tag is not None,
            }
        )


def refuse_unsupported(asked: dict[str, bool]) -> None:
    """Refuse the first field that is asked for.

    Raises:
        BadRequestError: Names it.
    """
    for name, wanted in asked.items():
        if wanted:
            raise BadRequestError(f"{name}: this is not supported here", name, "unsupported_parameter")


def _schema(given: str | dict[str, Any] | None, name: str) -> dict[str, Any] | None:
    if given is None or isinstance(given, dict):
        return given
    try:
        return msgspec.json.decode(given, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BadRequestError(f"{name} is no JSON schema: {error}", name) from error


def _choice_grammar(choices: list[str] | None) -> str | None:
    if choices is None:
        return None
    if not choices or not all(choices):
        raise BadRequestError("choices of an answer are texts of at least one character", "guided_choice")
    return "root ::= " + " | ".join(f'"{choice.translate(GRAMMAR_ESCAPES)}"' for choice in choices)
