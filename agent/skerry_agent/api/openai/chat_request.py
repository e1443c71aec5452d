"""``POST /v1/chat/completions`` as a value.

Source: https://platform.openai.com/docs/api-reference/chat/create. Unknown fields are ignored; known ones
that cannot be honoured are refused.
"""

from typing import Any

import msgspec

from skerry_agent.api.defaults import conversation, preset_options
from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.openai.fields import SamplingFields, refuse_unsupported
from skerry_agent.api.presets import Preset
from skerry_agent.api.reply import ReplyPlan, Tool, ToolChoice, plan_reply
from skerry_agent.runtime import ChatMessage, GenerateRequest

MAX_TOP_LOGPROBS = 20


class ContentPart(msgspec.Struct, frozen=True):
    """One part of a message's content; only text can be read."""

    type: str
    text: str = ""


class CalledFunction(msgspec.Struct, frozen=True):
    """What an earlier answer called; ``arguments`` is JSON text."""

    name: str
    arguments: str = "{}"


class MessageCall(msgspec.Struct, frozen=True):
    """A tool call of an earlier answer."""

    function: CalledFunction
    id: str = ""
    type: str = "function"


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[MessageCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None


class SchemaFormat(msgspec.Struct, frozen=True):
    """The schema of ``response_format``."""

    name: str = ""
    schema: dict[str, Any] = {}
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    """``text``, ``json_object`` or ``json_schema``; llama-server's clients give ``schema`` at the top."""

    type: str = "text"
    json_schema: SchemaFormat | None = None
    schema: dict[str, Any] | None = None

    def answer_schema(self) -> dict[str, Any] | None:
        """What the answer has to fit; None for free text.

        Raises:
            BadRequestError: An unknown type, or no schema.
        """
        if self.type == "text":
            return None
        if self.type == "json_object":
            return self.schema or {"type": "object"}
        if self.type == "json_schema":
            schema = self.json_schema.schema if self.json_schema else self.schema
            if not schema:
                raise BadRequestError("response_format: json_schema needs a schema", "response_format")
            return schema
        raise BadRequestError(
            f"response_format: {self.type!r} is none of text, json_object, json_schema", "response_format"
        )


class NamedFunction(msgspec.Struct, frozen=True):
    """The name of a function."""

    name: str


class NamedChoice(msgspec.Struct, frozen=True):
    """``tool_choice`` of one function."""

    function: NamedFunction
    type: str = "function"


class ChatCompletionRequest(SamplingFields, frozen=True, kw_only=True):
    """``POST /v1/chat/completions``."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    tools: list[Tool] | None = None
    tool_choice: str | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    # Known, and refused.
    functions: list[Any] | None = None
    audio: dict[str, Any] | None = None
    modalities: list[str] | None = None

    def plan(self) -> ReplyPlan:
        """How the answer is asked for and read.

        Raises:
            BadRequestError: A field asks for what cannot be served.
        """
        refuse_unsupported(
            {
                "functions": bool(self.functions),
                "audio": self.audio is not None,
                "modalities": any(kind != "text" for kind in self.modalities or ()),
            }
        )
        schema, grammar = self.form()
        wanted = self.response_format.answer_schema() if self.response_format else None
        if wanted is not None and (schema or grammar):
            raise BadRequestError("ask for one form of the answer, not for two", "response_format")
        tools, choice = self._tools()
        if grammar is not None and tools and choice != "none":
            raise BadRequestError("grammar: it cannot hold together with tools", "grammar")
        return plan_reply(tools, choice, wanted or schema)

    def requests(self, plan: ReplyPlan, preset: Preset | None, client: str) -> list[GenerateRequest]:
        """One request for each choice.

        Raises:
            BadRequestError: A field asks for what cannot be served.
        """
        defaults = preset_options(preset)
        base = GenerateRequest(
            messages=conversation(preset, [chat_message(message) for message in self.messages]),
            max_tokens=self.limit(defaults)
            if self.max_completion_tokens is None
            else self.max_completion_tokens,
            stop=self.stops(defaults),
            context_tokens=defaults.context_tokens,
            client=client,
            ignore_eos=bool(self.ignore_eos),
            logprobs=self._logprobs(),
            grammar=self.form()[1],
            json_schema=plan.json_schema,
            tools=plan.tools,
            template_kwargs=self._template_kwargs(),
            prefix_cache=self.cache_prompt is not False,
        )
        return [
            msgspec.structs.replace(base, sampling=self.sampling(choice, defaults))
            for choice in range(self.choices())
        ]

    def _tools(self) -> tuple[list[Tool], ToolChoice]:
        tools = check_tools(self.tools or [])
        choice = self.tool_choice
        if isinstance(choice, NamedChoice):
            chosen = [tool for tool in tools if tool.function.name == choice.function.name]
            if not chosen:
                raise BadRequestError(
                    f"tool_choice: no tool is called {choice.function.name!r}", "tool_choice"
                )
            return chosen, "required"
        return tools, check_choice(choice, tools)

    def _logprobs(self) -> int | None:
        top = self.top_logprobs
        if top is not None and not self.logprobs:
            raise BadRequestError("top_logprobs: this needs logprobs to be true", "top_logprobs")
        if top is not None and not 0 <= top <= MAX_TOP_LOGPROBS:
            raise BadRequestError(
                f"top_logprobs is {top}: it must be from 0 to {MAX_TOP_LOGPROBS}", "top_logprobs"
            )
        return (top or 0) if self.logprobs else None

    def _template_kwargs(self) -> str | None:
        given = dict(self.chat_template_kwargs or {})
        if self.reasoning_effort is not None:
            given.setdefault("reasoning_effort", self.reasoning_effort)
        return msgspec.json.encode(given).decode() if given else None


def check_tools(tools: list[Tool]) -> list[Tool]:
    """Tools that can be offered.

    Raises:
        BadRequestError: One that is no function.
    """
    for tool in tools:
        if tool.type != "function":
            raise BadRequestError(f"tools: {tool.type!r} is no function: only those can be called", "tools")
    return tools


def check_choice(choice: str | None, tools: list[Tool]) -> ToolChoice:
    """A tool choice by word.

    Raises:
        BadRequestError: Another word, or a call is required and there is no tool.
    """
    if choice in (None, "auto"):
        return "auto"
    if choice == "none":
        return "none"
    if choice != "required":
        raise BadRequestError(f"tool_choice: {choice!r} is none of none, auto, required", "tool_choice")
    if not tools:
        raise BadRequestError("tool_choice: a call is required, but there are no tools", "tool_choice")
    return "required"


def chat_message(message: Message) -> ChatMessage:
    """A message as the runtime takes it.

    Raises:
        BadRequestError: Its content is not text.
    """
    return ChatMessage(
        # Templates know no "developer": OpenAI's newer name of the same.
        role="system" if message.role == "developer" else message.role,
        content=message_text(message.content),
        tool_calls=calls_json(message.tool_calls or []),
        tool_call_id=message.tool_call_id or "",
        name=message.name or "",
    )


def message_text(content: str | list[ContentPart] | None) -> str:
    """The text of a message.

    Raises:
        BadRequestError: A part is not text.
    """
    if content is None or isinstance(content, str):
        return content or ""
    for part in content:
        if part.type not in ("text", "input_text", "output_text", "refusal"):
            raise BadRequestError(f"content of type {part.type!r}: this model takes text only", "messages")
    return "".join(part.text for part in content)


def calls_json(calls: list[MessageCall]) -> str | None:
    """Earlier calls as JSON text for the template; None for none."""
    if not calls:
        return None
    return msgspec.json.encode(calls).decode()
