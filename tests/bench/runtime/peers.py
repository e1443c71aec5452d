"""What is measured: a server on loopback, and how to ask it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil

from bench.runtime.http_stream import REQUEST_DEADLINE_S, Answer, PeerError, ask
from bench.runtime.prompts import Prompt, story_prompt
from support.fleet import http_json
from support.processes import Service

SLOTS = 8
SLOT_TOKENS = 2048
"""Context of one request: every peer gets so much for each of its slots."""
START_DEADLINE_S = 120.0


@dataclass(frozen=True)
class ModelCase:
    """A model to measure with.

    Attributes:
        name: As in the report.
        path: The GGUF file.
        chat: Whether it is asked as a chat; else with plain text, for a model without a template.
        end_tokens: What ends its answers: forbidden where a server knows no ``ignore_eos``.
    """

    name: str
    path: Path
    chat: bool
    end_tokens: tuple[int, ...]

    @property
    def endpoint(self) -> str:
        """Where it is asked."""
        return "/v1/chat/completions" if self.chat else "/v1/completions"

    def ban_ends(self) -> dict[str, Any]:
        """Request fields that forbid the end of an answer."""
        return {"logit_bias": {str(token): -100 for token in self.end_tokens}}


@dataclass
class Peer:
    """A server under measurement.

    Attributes:
        name: As in the report.
        service: Its process.
        port: Its port on loopback.
        case: The model that it serves.
        ready_path: Answers with JSON once it is ready.
        model: What it calls the model.
        endless: Request fields that keep an answer going to ``max_tokens``.
        flags: How it was started, for the report.
    """

    name: str
    service: Service
    port: int
    case: ModelCase
    ready_path: str
    model: str
    endless: dict[str, Any]
    flags: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.service.start()
        url = f"http://127.0.0.1:{self.port}{self.ready_path}"
        self.service.wait_until(lambda: http_json(url) is not None, deadline_s=START_DEADLINE_S)

    def stop(self) -> None:
        """End it."""
        self.service.stop(timeout_s=15.0)

    def body(self, prompt: Prompt, max_tokens: int, **more: Any) -> bytes:
        """A streamed, greedy request that does not end before its limit."""
        asked = prompt.chat_fields() if self.case.chat else prompt.text_fields()
        fields = {
            "model": self.model, **asked, "max_tokens": max_tokens, "temperature": 0.0, "stream": True,
            "stream_options": {"include_usage": True}, **self.endless, **more,
        }  # fmt: skip
        return msgspec.json.encode(fields)

    async def ask(
        self,
        prompt: Prompt,
        max_tokens: int,
        *,
        deadline_s: float = REQUEST_DEADLINE_S,
        abandon_after: int | None = None,
        abandon_after_s: float | None = None,
        **more: Any,
    ) -> Answer:
        """Ask, and require an answer; one that was abandoned counts with what came of it.

        Raises:
            PeerError: There is none, or an incomplete one.
            TimeoutError: It took longer than ``deadline_s``.
        """
        answer = await ask(
            self.port, self.case.endpoint, self.body(prompt, max_tokens, **more),
            max_tokens=max_tokens, deadline_s=deadline_s, abandon_after=abandon_after,
            abandon_after_s=abandon_after_s,
        )  # fmt: skip
        if answer.status != 200 or answer.error or not answer.first_at:
            raise PeerError(f"{self.name} answered {answer.status}: {answer.error or 'no text'}")
        if not answer.complete and not answer.abandoned:
            raise PeerError(f"{self.name} broke off after {answer.pieces} pieces")
        return answer

    async def warm_up(self) -> None:
        """Load the model and touch its pages; see whether it knows ``ignore_eos``."""
        prompt = story_prompt("warm-up", self.case.name)
        try:
            await self.ask(prompt, 16)
        except PeerError:
            if "ignore_eos" not in self.endless:
                raise
            self.endless = self.case.ban_ends()
            try:
                await self.ask(prompt, 16)
            except PeerError:
                self.endless = {}
                await self.ask(prompt, 16)

    def cpu_s(self) -> float:
        """CPU time of its processes so far, in seconds."""
        total = 0.0
        for process in self.processes():
            try:
                times = process.cpu_times()
            except psutil.Error:  # it ended meanwhile
                continue
            total += times.user + times.system
        return total

    def processes(self) -> list[psutil.Process]:
        """Its process and that one's children."""
        try:
            own = psutil.Process(self.service.pid)
            return [own, *own.children(recursive=True)]
        except psutil.Error:
            return []
