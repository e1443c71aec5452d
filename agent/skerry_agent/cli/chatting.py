"""The terminal chat: reads lines, streams answers, remembers the conversation."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from skerry_agent.errors import AgentError

HELP = """\
/system TEXT   set the system prompt; without TEXT show it
/reset         forget the conversation
/help          this
/bye           leave (so does Ctrl-D); Ctrl-C stops an answer"""


class Api(Protocol):
    """What the chat needs of the local API."""

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Events of an answer."""


@dataclass(slots=True)
class Speed:
    """How fast an answer came; times in seconds."""

    tokens: int = 0
    first_s: float = 0.0
    tokens_per_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.tokens} tokens, {self.tokens_per_s:.1f} tokens/s, the first after {self.first_s:.2f} s"


@dataclass(slots=True)
class Chat:
    """One conversation with one model.

    Attributes:
        write: Takes pieces of the answer.
        tell: Takes what is about the answer: speed, errors, help.
        options: Further fields of each request.
    """

    api: Api
    model: str
    write: Callable[[str], None]
    tell: Callable[[str], None]
    system: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, str]] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic

    def run(self, read: Callable[[], str]) -> None:
        """Take lines until ``/bye`` or the end of them."""
        while True:
            try:
                line = read().strip()
            except EOFError:
                self.write("\n")
                return
            except KeyboardInterrupt:
                self.tell("\nleave with /bye or Ctrl-D")
                continue
            if line == "/bye":
                return
            if line.startswith("/"):
                self.command(line)
            elif line:
                self.say(line)

    def command(self, line: str) -> None:
        """Do what a line with a slash says."""
        name, _, text = line.partition(" ")
        if name == "/reset":
            self.messages.clear()
            self.tell("the conversation is forgotten")
        elif name == "/system" and text.strip():
            self.system = text.strip()
            self.tell("the system prompt is set")
        elif name == "/system":
            self.tell(self.system or "there is no system prompt")
        else:
            self.tell(HELP)

    def say(self, text: str) -> None:
        """Ask, and stream the answer; an error or Ctrl-C ends only this answer."""
        self.messages.append({"role": "user", "content": text})
        parts: list[str] = []
        try:
            speed = self._stream(parts)
        except KeyboardInterrupt:
            self.tell("\nstopped")
        except AgentError as error:
            self.tell(f"\nskerry-agent: {error}")
        else:
            self.tell(f"\n[{speed}]")
        if parts:
            self.messages.append({"role": "assistant", "content": "".join(parts)})
        else:
            self.messages.pop()

    def answer(self, text: str) -> Speed:
        """Ask once.

        Raises:
            AgentError: There is no answer.
        """
        self.messages.append({"role": "user", "content": text})
        speed = self._stream([])
        self.write("\n")
        return speed

    def _stream(self, parts: list[str]) -> Speed:
        system = [{"role": "system", "content": self.system}] if self.system else []
        body = {
            "model": self.model,
            "messages": system + self.messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self.options,
        }
        speed = Speed()
        began = self.clock()
        for event in self.api.stream("/v1/chat/completions", body):
            for choice in event.get("choices", ()):
                delta = choice.get("delta", {})
                text = delta.get("reasoning_content") or delta.get("content") or ""
                if text and not speed.first_s:
                    speed.first_s = self.clock() - began
                if delta.get("content"):
                    parts.append(text)
                if text:
                    self.write(text)
            if event.get("usage"):
                speed.tokens = event["usage"]["completion_tokens"]
                speed.tokens_per_s = event.get("timings", {}).get("decode_tokens_per_s", 0.0)
        return speed


def terminal_write(text: str) -> None:
    """Write a piece of an answer at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def terminal_tell(text: str) -> None:
    """Write something about an answer, where pipes do not take it for one."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
