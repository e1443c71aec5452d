"""Ollama's requests as values.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md. Unknown fields are ignored; known ones that
cannot be honoured are refused.
"""

from typing import Any

import msgspec

from skerry_agent.api.catalog import Served
from skerry_agent.api.defaults import conversation, preset_options
from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.ollama.keep_alive import keep_alive_seconds
from skerry_agent.api.options import ModelOptions, over, read_options
from skerry_agent.api.reply import ReplyPlan, Tool, plan_reply
from skerry_agent.runtime import ChatMessage, GenerateRequest, Sampling

SAMPLING = Sampling(temperature=0.8, top_k=40, top_p=0.9, min_p=0.0, repeat_penalty=1.1, repeat_window=64)
"""Ollama's defaults."""
MAX_TOP_LOGPROBS = 20
EFFORTS = ("low", "medium", "high")


class AnswerFields(msgspec.Struct, frozen=True, kw_only=True):
    """What both kinds of answers share."""

    model: str
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    keep_alive: str | float | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None

    @property
    def streamed(self) -> bool:
        """Whether the answer comes in lines: it does unless that is refused."""
        return self.stream is not False

    @property
    def keep_alive_s(self) -> float | None:
        """How long the model stays loaded, in seconds.

        Raises:
            BadRequestError: It is no duration.
        """
        return keep_alive_seconds(self.keep_alive)

    def effective_options(self, served: Served) -> ModelOptions:
        """The request's options over those of the preset.

        Raises:
            BadRequestError: One has the wrong type.
        """
        return over(preset_options(served.preset), read_options(self.options))

    def base_request(self, served: Served, client: str) -> GenerateRequest:
        """The request without its prompt.

        Raises:
            BadRequestError: A field asks for what cannot be served.
        """
        options = self.effective_options(served)
        return GenerateRequest(
            sampling=msgspec.structs.replace(SAMPLING, **options.sampling()),
            max_tokens=options.max_tokens,
            stop=options.stops,
            context_tokens=options.context_tokens,
            client=client,
            logprobs=self._logprobs(),
        )

    def answer_schema(self) -> dict[str, Any] | None:
        """What the answer has to fit; None for free text.

        Raises:
            BadRequestError: Neither ``json`` nor a schema.
        """
        if self.format is None or self.format == "":
            return None
        if isinstance(self.format, dict):
            return self.format
        if self.format != "json":
            raise BadRequestError(f'format: {self.format!r} is neither "json" nor a JSON schema', "format")
        return {"type": "object"}

    def template_kwargs(self) -> str | None:
        """What ``think`` means to chat templates, as JSON text.

        Raises:
            BadRequestError: It is neither a truth value nor an effort.
        """
        if self.think is None:
            return None
        if isinstance(self.think, bool):
            return msgspec.json.encode({"enable_thinking": self.think}).decode()
        if self.think not in EFFORTS:
            raise BadRequestError(f"think: {self.think!r} is none of true, false, low, medium, high", "think")
        return msgspec.json.encode({"enable_thinking": True, "reasoning_effort": self.think}).decode()

    def _logprobs(self) -> int | None:
        top = self.top_logprobs or 0
        if not 0 <= top <= MAX_TOP_LOGPROBS:
            raise BadRequestError(
                f"top_logprobs is {top}: it must be from 0 to {MAX_TOP_LOGPROBS}", "top_logprobs"
            )
        return top if self.logprobs else None


class OllamaGenerate(AnswerFields, frozen=True, kw_only=True):
    """``POST /api/generate``."""

    prompt: str | None = None
    system: str | None = None
    raw: bool | None = None
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None
    images: list[str] | None = None

    def request(self, served: Served, client: str) -> GenerateRequest:
        """The request as the runtime takes it.

        Raises:
            BadRequestError: A field asks for what cannot be served.
        """
        for name in ("suffix", "template", "context", "images"):
            if getattr(self, name):
                raise BadRequestError(f"{name}: this is not supported here", name)
        plan = plan_reply([], "none", self.answer_schema())
        base = msgspec.structs.replace(self.base_request(served, client), json_schema=plan.json_schema)
        if self.raw:
            return msgspec.structs.replace(base, prompt=self.prompt or "")
        if not served.has_chat_template:
            # As Ollama's default template: the prompt alone, with a system prompt before it.
            system = self.system or (served.preset.system if served.preset else "")
            text = "\n\n".join(part for part in (system, self.prompt or "") if part)
            return msgspec.structs.replace(base, prompt=text)
        messages = [ChatMessage("system", self.system)] if self.system else []
        messages.append(ChatMessage("user", self.prompt or ""))
        return msgspec.structs.replace(
            base, messages=conversation(served.preset, messages), template_kwargs=self.template_kwargs()
        )


class OllamaFunction(msgspec.Struct, frozen=True):
    """What an earlier answer called."""

    name: str
    arguments: dict[str, Any] = {}


class OllamaCall(msgspec.Struct, frozen=True):
    """A tool call of an earlier answer."""

    function: OllamaFunction


class OllamaMessage(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[OllamaCall] | None = None
    tool_name: str | None = None

    def to_message(self) -> ChatMessage:
        """The message as the runtime takes it.

        Raises:
            BadRequestError: It holds images.
        """
        if self.images:
            raise BadRequestError("images: this model takes text only", "messages")
        calls = [
            {
                "type": "function",
                "function": {
                    "name": call.function.name,
                    "arguments": msgspec.json.encode(call.function.arguments).decode(),
                },
            }
            for call in self.tool_calls or ()
        ]
        return ChatMessage(
            self.role,
            self.content or "",
            tool_calls=msgspec.json.encode(calls).decode() if calls else None,
            name=self.tool_name or "",
        )


class OllamaChat(AnswerFields, frozen=True, kw_only=True):
    """``POST /api/chat``."""

    messages: list[OllamaMessage] | None = None
    tools: list[Tool] | None = None

    def plan(self) -> ReplyPlan:
        """How the answer is asked for and read.

        Raises:
            BadRequestError: A field asks for what cannot be served.
        """
        return plan_reply(self.tools or [], "auto", self.answer_schema())

    def request(self, served: Served, plan: ReplyPlan, client: str) -> GenerateRequest:
        """The request as the runtime takes it.

        Raises:
            BadRequestError: A field asks for what cannot be served.
        """
        messages = [message.to_message() for message in self.messages or ()]
        return msgspec.structs.replace(
            self.base_request(served, client),
            messages=conversation(served.preset, messages),
            json_schema=plan.json_schema,
            tools=plan.tools,
            template_kwargs=self.template_kwargs(),
        )
