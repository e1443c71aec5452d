"""``POST /v1/completions`` as a value. OpenAI's default of 16 tokens holds.

Source: https://platform.openai.com/docs/api-reference/completions/create.
"""

import msgspec

from skerry_agent.api.defaults import preset_options
from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.openai.fields import MAX_CHOICES, SamplingFields, refuse_unsupported
from skerry_agent.api.presets import Preset
from skerry_agent.runtime import GenerateRequest

DEFAULT_MAX_TOKENS = 16
MAX_LOGPROBS = 20

Prompt = str | tuple[int, ...]


class CompletionRequest(SamplingFields, frozen=True, kw_only=True):
    """``POST /v1/completions``."""

    prompt: str | list[str | int | list[int]]
    echo: bool | None = None
    logprobs: int | None = None
    suffix: str | None = None
    best_of: int | None = None

    def prompts(self) -> list[Prompt]:
        """The prompts: a text or a list of token ids each.

        Raises:
            BadRequestError: There is none, or the list mixes kinds.
        """
        given = self.prompt
        if isinstance(given, str):
            return [given]
        texts = [item for item in given if isinstance(item, str)]
        tokens = [item for item in given if isinstance(item, int)]
        lists = [tuple(item) for item in given if isinstance(item, list)]
        if not given or max(len(texts), len(tokens), len(lists)) != len(given):
            raise BadRequestError(
                "prompt: a text, a list of texts, of token ids, or of lists of token ids is needed", "prompt"
            )
        return [tuple(tokens)] if tokens else [*texts, *lists]

    def requests(self, preset: Preset | None, client: str) -> list[GenerateRequest]:
        """One request for each choice of each prompt, a prompt's choices together.

        Raises:
            BadRequestError: A field asks for what cannot be served.
        """
        prompts = self._checked()
        defaults = preset_options(preset)
        schema, grammar = self.form()
        limit = self.limit(defaults)
        base = GenerateRequest(
            max_tokens=DEFAULT_MAX_TOKENS if limit is None and self.n_predict is None else limit,
            stop=self.stops(defaults),
            context_tokens=defaults.context_tokens,
            client=client,
            ignore_eos=bool(self.ignore_eos),
            logprobs=self.logprobs,
            grammar=grammar,
            json_schema=None if schema is None else msgspec.json.encode(schema).decode(),
            prefix_cache=self.cache_prompt is not False,
        )
        samplings = [self.sampling(choice, defaults) for choice in range(self.choices())]
        return [
            msgspec.structs.replace(base, sampling=sampling, **_prompt_field(prompt))
            for prompt in prompts
            for sampling in samplings
        ]

    def _checked(self) -> list[Prompt]:
        prompts = self.prompts()
        tokens = any(isinstance(prompt, tuple) for prompt in prompts)
        refuse_unsupported(
            {
                "best_of": self.best_of not in (None, 1, self.n),
                "suffix": bool(self.suffix),
                "echo": bool(self.echo) and (tokens or self.logprobs is not None),
            }
        )
        if self.logprobs is not None and not 0 <= self.logprobs <= MAX_LOGPROBS:
            raise BadRequestError(
                f"logprobs is {self.logprobs}: it must be from 0 to {MAX_LOGPROBS}", "logprobs"
            )
        if len(prompts) * self.choices() > MAX_CHOICES:
            raise BadRequestError(
                f"{len(prompts)} prompts of {self.choices()} choices are too many: at most {MAX_CHOICES}"
                " answers are allowed in a request",
                "prompt",
            )
        return prompts


def _prompt_field(prompt: Prompt) -> dict[str, Prompt]:
    return {"prompt": prompt} if isinstance(prompt, str) else {"prompt_tokens": prompt}
