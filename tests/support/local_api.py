"""The local API over a runtime and a registry that do what a test says; served on a port for real clients."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from starlette.applications import Starlette

from skerry_agent.access import TokenStore
from skerry_agent.api import ApiOptions, ApiParts, FleetUpdates, PresetStore, create_api
from skerry_agent.daemon.servers import bind_tcp, make_server
from skerry_agent.registry import InstalledArtifact, Pair, Slot
from skerry_agent.registry.naming import resolve, resolve_pair
from skerry_agent.runtime import (
    Candidate,
    EmbedRequest,
    EmbedResult,
    FinishEvent,
    GenerateEvent,
    GenerateRequest,
    ModelFile,
    ModelInfo,
    ModelStatus,
    Runner,
    RuntimeMetrics,
    Timings,
    TokenEvent,
    TokenLogprobs,
    Usage,
)
from skerry_agent.runtime.meter import Meter
from skerry_protocol.manifest import Acceptance
from skerry_protocol.records import Value
from skerry_protocol.reported import SlotReport
from support.tiny_gguf import write_tiny_gguf

TIMINGS = Timings(queue_ms=1.0, prompt_ms=20.0, first_token_ms=25.0, decode_ms=40.0, decode_tokens_per_s=50.0)
TOOL_TEMPLATE = "{% if tools %}{{ tools }}{% endif %}<think>{{ messages }}"

Script = Callable[[GenerateRequest], Iterable[GenerateEvent]]


def say(
    text: str, *, piece: int = 3, reason: str = "stop", cached: int = 0, tokens: int | None = None
) -> list[GenerateEvent]:
    """The events of an answer, ``piece`` characters at a time, each with log-probabilities."""
    pieces = [text[n : n + piece] for n in range(0, len(text), piece)]
    events: list[GenerateEvent] = []
    for number, part in enumerate(pieces):
        chosen = Candidate(number, part.encode(), -0.5)
        other = Candidate(number + 1, b"\xff", float("-inf"))
        events.append(TokenEvent(part, (TokenLogprobs(chosen, (chosen, other)),)))
    count = len(pieces) if tokens is None else tokens
    usage = Usage(prompt_tokens=7, completion_tokens=count, cached_tokens=cached)
    events.append(FinishEvent("length" if reason == "length" else "stop", usage, TIMINGS))
    return events


@dataclass
class ScriptedRunners:
    """Runners whose answers a test writes.

    Attributes:
        script: The events of an answer; it may raise instead.
        requests: What was asked.
        retired: Digests that were unloaded.
        pause_s: Time between events.
        open: How many generations are under way.
    """

    script: Script = field(default_factory=lambda: lambda _: say("Hello there"))
    requests: list[GenerateRequest] = field(default_factory=list)
    embeds: list[EmbedRequest] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    loaded: list[ModelFile] = field(default_factory=list)
    pause_s: float = 0.0
    open: int = 0
    most_open: int = 0

    @contextlib.asynccontextmanager
    async def lease(
        self, model: ModelFile, *, keep_alive_s: float | None = None, again: bool = False
    ) -> AsyncIterator[Runner]:
        assert not again
        if model not in self.loaded:
            self.loaded.append(model)
        yield cast("Runner", self)
        if keep_alive_s == 0:
            self.unload(model.sha256)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateEvent, None]:
        self.requests.append(request)
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            for event in self.script(request):
                await asyncio.sleep(self.pause_s)
                yield event
        finally:
            self.open -= 1

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        self.embeds.append(request)
        vectors = tuple(b"\x00\x00\x40\x40\x00\x00\x80\x40\x00\x00\x00\x00" for _ in request.inputs)
        return EmbedResult(vectors, 3, prompt_tokens=4 * len(vectors))

    def unload(self, sha256: str) -> None:
        self.retired.append(sha256)
        self.loaded = [model for model in self.loaded if model.sha256 != sha256]

    async def retire(self, sha256: str) -> None:
        self.retired.append(sha256)
        self.loaded = [model for model in self.loaded if model.sha256 != sha256]

    def status(self) -> list[ModelStatus]:
        info = ModelInfo("llama", "tiny", 1, 1, 300, 2048, 2048, has_chat_template=True, load_ms=1.0)
        return [_status(model, info) for model in self.loaded]

    def metrics(self) -> RuntimeMetrics:
        return Meter().metrics(queue_depth=0, in_flight=self.open)


def _status(model: ModelFile, info: ModelInfo) -> ModelStatus:
    return ModelStatus(
        sha256=model.sha256,
        label=model.label,
        state="ready",
        role="serving",
        pid=1,
        rss_bytes=1000,
        restarts=0,
        queue_depth=0,
        in_flight=0,
        info=info,
        last_error=None,
    )


def artifact(ref: str, path: Path, *, template: bool = True, signed: bool = True) -> InstalledArtifact:
    """An installed model."""
    description: dict[str, Value] = {
        "architecture": "llama",
        "parameters": 134_515_008,
        "quantization": "Q4_K_M",
        "has_chat_template": template,
        "vocabulary_size": 1000,
    }
    return InstalledArtifact(
        ref=ref,
        kind="model",
        signed=signed,
        file_sha256=f"{abs(hash(ref)):064x}"[:64],
        length=1000,
        path=path,
        target_path=None,
        target_sha256=None,
        description=description,
        license="Apache-2.0",
        acceptance=Acceptance(),
        installed_at=1_700_000_000.0,
    )


@dataclass
class ScriptedModels:
    """A registry in memory."""

    installed: list[InstalledArtifact]
    active: dict[str, Slot]

    async def find_pair(self, name: str) -> Pair:
        return resolve_pair(name, self.active, self.installed)

    async def find(self, name: str) -> InstalledArtifact:
        return resolve(name, self.active, self.installed)

    async def artifacts(self) -> Sequence[InstalledArtifact]:
        return self.installed

    async def slots(self) -> Sequence[Slot]:
        return list(self.active.values())

    async def deactivate(self, slot: str) -> None:
        self.active.pop(slot, None)

    async def remove(self, ref: str) -> None:
        self.installed = [one for one in self.installed if one.ref != ref]


class Events:
    """Remembers what was emitted."""

    def __init__(self) -> None:
        self.emitted: list[tuple[str, dict[str, Value]]] = []

    async def emit(self, name: str, /, *, audit: bool = False, **data: Value) -> None:
        del audit
        self.emitted.append((name, data))


@dataclass
class ScriptedFleet:
    """The fleet's side: the reports that a pull sees, one after another."""

    states: list[SlotReport]
    slot: str = "assistant/stable"
    nudged: int = 0

    def reports(self) -> Mapping[str, SlotReport]:
        report = self.states[0] if len(self.states) == 1 or not self.nudged else self.states.pop(0)
        return {self.slot: report}

    def nudge(self) -> None:
        self.nudged += 1


@dataclass
class LocalApi:
    """One API with its parts."""

    folder: Path
    runners: ScriptedRunners
    models: ScriptedModels
    tokens: TokenStore
    presets: PresetStore
    events: Events
    fleet: FleetUpdates | None = None
    require_token: bool = False
    max_body_bytes: int = 4 * 1024 * 1024
    timeout_s: float = 30.0

    @classmethod
    def in_folder(cls, folder: Path) -> "LocalApi":
        """An API with the models ``assistant`` (of the fleet), ``local/mine`` and ``local/base``."""
        chat = write_tiny_gguf(folder / "chat.gguf", chat_template=TOOL_TEMPLATE)
        plain = write_tiny_gguf(folder / "plain.gguf")
        base = write_tiny_gguf(folder / "base.gguf", chat_template=False)
        installed = [
            artifact("smol@2", chat),
            artifact("local/mine@1", plain, signed=False),
            artifact("local/base@1", base, template=False, signed=False),
        ]
        active = {
            "assistant/stable": Slot("assistant/stable", installed[0]),
            "local/mine": Slot("local/mine", installed[1]),
        }
        return cls(
            folder,
            ScriptedRunners(),
            ScriptedModels(installed, active),
            TokenStore.load(folder / "tokens.json"),
            PresetStore.load(folder / "presets.json"),
            Events(),
        )

    def app(self) -> Starlette:
        """The application."""
        parts = ApiParts(
            models=self.models,
            runners=self.runners,
            tokens=self.tokens,
            presets=self.presets,
            events=self.events,
            fleet=lambda: self.fleet,
        )
        options = ApiOptions(
            frozenset({"127.0.0.1", "localhost", "testserver"}),
            self.max_body_bytes,
            self.timeout_s,
            self.require_token,
        )
        return create_api(parts, options)

    @contextlib.contextmanager
    def served(self) -> Iterator[str]:
        """Serve it on a free port, in a thread; yields its address."""
        listener = bind_tcp("127.0.0.1", 0)
        server = make_server(self.app(), stop_timeout_s=5)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            listener.close()
