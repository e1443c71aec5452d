"""From a request to the tokens of its prompt; belongs to the runner process (jinja2)."""

import json

from skerry_agent.runtime.chat_template import ChatTemplate, TemplateBrokenError
from skerry_agent.runtime.engine_ports import Vocabulary
from skerry_agent.runtime.errors import NoChatTemplateError
from skerry_agent.runtime.requests import GenerateRequest


class PromptReader:
    """Renders and tokenizes; any thread may use it.

    Args:
        vocabulary: The model's.
        template: Its chat template; None when it has none; an error when that is broken.
        bos_text: Text of its begin-of-sequence token, "" for none.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        template: ChatTemplate | TemplateBrokenError | None,
        bos_text: str,
    ) -> None:
        self._vocabulary = vocabulary
        self._template = template
        self._bos_text = bos_text

    def tokens(self, request: GenerateRequest) -> list[int]:
        """The prompt's tokens, at least one.

        Raises:
            InvalidRequestError: It names a token that does not exist.
            NoChatTemplateError: It has messages, and the model no template.
            TemplateBrokenError: The template cannot be used.
            TemplateRefusedError: The template refuses the messages.
        """
        self._vocabulary.check_tokens(request)
        if request.prompt_tokens is not None:
            tokens = list(request.prompt_tokens)
        elif request.messages is None:
            tokens = self._vocabulary.tokenize(request.prompt or "", add_special=True)
        else:
            text = self._render(request)
            # As llama.cpp does it: a model that is made for a begin-of-sequence token gets exactly one.
            has_bos = bool(self._bos_text) and text.startswith(self._bos_text)
            tokens = self._vocabulary.tokenize(text, add_special=not has_bos)
        # An empty prompt of a model without a begin-of-sequence token: there is nothing to compute.
        return tokens or self._vocabulary.tokenize("\n", add_special=False)

    def _render(self, request: GenerateRequest) -> str:
        if self._template is None:
            raise NoChatTemplateError
        if isinstance(self._template, TemplateBrokenError):
            raise self._template
        tools = None if request.tools is None else json.loads(request.tools)
        extra = {} if request.template_kwargs is None else json.loads(request.template_kwargs)
        return self._template.render(request.messages or (), tools=tools, extra=extra)
