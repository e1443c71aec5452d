"""``POST /v1/responses`` as a value: text and function calls.

Source: https://platform.openai.com/docs/api-reference/responses/create. Nothing is kept between requests,
so a conversation comes whole in ``input``.
"""

from typing import Any

import msgspec

from skerry_agent.api.defaults import conversation, preset_options
from skerry_agent.api.errors import BadRequestError
from skerry_agent.api.openai.chat_request import (
    CalledFunction,
    ContentPart,
    MessageCall,
    calls_json,
    check_choice,
    message_text,
)
from skerry_agent.api.openai.fields import refuse_unsupported
from skerry_agent.api.presets import Preset
from skerry_agent.api.reply import Function, ReplyPlan, Tool, plan_reply
from skerry_agent.runtime import ChatMessage, GenerateRequest, Sampling

MAX_TOP_LOGPROBS = 20
LOGPROBS = "message.output_text.logprobs"


class InputItem(msgspec.Struct, frozen=True):
    """A message, a call of an earlier answer, or what a call gave."""

    type: str = "message"
    role: str = "user"
    content: str | list[ContentPart] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = "{}"
    output: str | list[ContentPart] | None = None


class ResponseTool(msgspec.Struct, frozen=True):
    """A function, flat."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedTool(msgspec.Struct, frozen=True):
    """``tool_choice`` of one function."""

    type: str
    name: str = ""


class TextFormat(msgspec.Struct, frozen=True):
    """``text.format``."""

    type: str = "text"
    name: str = ""
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class TextOptions(msgspec.Struct, frozen=True):
    """``text``."""

    format: TextFormat = TextFormat()
    verbosity: str | None = None


class ReasoningOptions(msgspec.Struct, frozen=True):
    """``reasoning``."""

    effort: str | None = None
    summary: str | None = None


class ResponseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /v1/responses``."""

    model: str
    input: str | list[InputItem]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    tools: list[ResponseTool] | None = None
    tool_choice: str | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    metadata: dict[str, str] | None = None
    truncation: str | None = None
    # Known, and refused.
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    background: bool | None = None
    prompt: dict[str, Any] | None = None

    def plan(self) -> ReplyPlan:
        """How the answer is asked for and read.

        Raises:
            BadRequestError: A field asks for what cannot be served.
        """
        refuse_unsupported(
            {
                "previous_response_id": self.previous_response_id is not None,
                "conversation": self.conversation is not None,
                "background": bool(self.background),
                "prompt": self.prompt is not None,
                "truncation": self.truncation not in (None, "disabled"),
            }
        )
        tools = [self._tool(tool) for tool in self.tools or []]
        choice = self.tool_choice
        if isinstance(choice, NamedTool):
            tools = [tool for tool in tools if tool.function.name == choice.name]
            if not tools:
                raise BadRequestError(f"tool_choice: no tool is called {choice.name!r}", "tool_choice")
            return plan_reply(tools, "required", self._schema())
        return plan_reply(tools, check_choice(choice, tools), self._schema())

    def request(self, plan: ReplyPlan, preset: Preset | None, client: str) -> GenerateRequest:
        """The request as the runtime takes it.

        Raises:
            BadRequestError: A field asks for what cannot be served.
        """
        defaults = preset_options(preset)
        given = {"temperature": self.temperature, "top_p": self.top_p}
        chosen = {name: value for name, value in given.items() if value is not None}
        sampling = msgspec.structs.replace(Sampling(temperature=1.0), **{**defaults.sampling(), **chosen})
        effort = self.reasoning.effort if self.reasoning else None
        return GenerateRequest(
            messages=conversation(preset, self.messages()),
            sampling=sampling,
            max_tokens=defaults.max_tokens if self.max_output_tokens is None else self.max_output_tokens,
            stop=defaults.stops,
            context_tokens=defaults.context_tokens,
            client=client,
            logprobs=self._logprobs(),
            json_schema=plan.json_schema,
            tools=plan.tools,
            template_kwargs=None if effort is None else f'{{"reasoning_effort":{_json(effort)}}}',
        )

    def messages(self) -> list[ChatMessage]:
        """The conversation.

        Raises:
            BadRequestError: An item that cannot be read.
        """
        messages = [ChatMessage("system", self.instructions)] if self.instructions else []
        if isinstance(self.input, str):
            return [*messages, ChatMessage("user", self.input)]
        return messages + [_message(item) for item in self.input if item.type != "reasoning"]

    @property
    def wants_logprobs(self) -> bool:
        """Whether the answer carries log-probabilities."""
        return LOGPROBS in (self.include or ()) or bool(self.top_logprobs)

    def _logprobs(self) -> int | None:
        top = self.top_logprobs or 0
        if not 0 <= top <= MAX_TOP_LOGPROBS:
            raise BadRequestError(
                f"top_logprobs is {top}: it must be from 0 to {MAX_TOP_LOGPROBS}", "top_logprobs"
            )
        return top if self.wants_logprobs else None

    def _schema(self) -> dict[str, Any] | None:
        form = self.text.format if self.text else TextFormat()
        if form.type == "text":
            return None
        if form.type == "json_object":
            return {"type": "object"}
        if form.type != "json_schema" or not form.schema:
            raise BadRequestError(
                "text.format: text, json_object or json_schema with a schema is needed", "text"
            )
        return form.schema

    @staticmethod
    def _tool(tool: ResponseTool) -> Tool:
        if tool.type != "function" or not tool.name:
            raise BadRequestError(
                f"tools: {tool.type!r} is not here: only functions of yours can be called", "tools"
            )
        return Tool(Function(tool.name, tool.description, tool.parameters, tool.strict))


def _message(item: InputItem) -> ChatMessage:
    if item.type == "message":
        role = "system" if item.role == "developer" else item.role
        return ChatMessage(role, message_text(item.content))
    if item.type == "function_call":
        call = MessageCall(CalledFunction(item.name, item.arguments), id=item.call_id)
        return ChatMessage("assistant", "", tool_calls=calls_json([call]))
    if item.type == "function_call_output":
        return ChatMessage("tool", message_text(item.output), tool_call_id=item.call_id)
    raise BadRequestError(f"input: an item of type {item.type!r} cannot be read here", "input")


def _json(text: str) -> str:
    return msgspec.json.encode(text).decode()
