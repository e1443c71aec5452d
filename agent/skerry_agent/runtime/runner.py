"""The daemon's side of one runner process."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import structlog

from skerry_agent.runtime.calls import Calls, T
from skerry_agent.runtime.engine_stats import EngineStats
from skerry_agent.runtime.errors import ModelLoadError, ModelUnavailableError, RunnerCrashedError
from skerry_agent.runtime.jobs import Jobs
from skerry_agent.runtime.load_message import load_message
from skerry_agent.runtime.meter import Meter
from skerry_agent.runtime.model import ModelFile, ModelInfo, RunnerOptions, RuntimeLimits
from skerry_agent.runtime.outcome import model_info
from skerry_agent.runtime.process import (
    StderrTail,
    describe_crash,
    resident_bytes,
    runner_command,
    runner_environment,
    spawn,
)
from skerry_agent.runtime.requests import (
    AdapterFile,
    EmbedRequest,
    EmbedResult,
    GenerateEvent,
    GenerateRequest,
)
from skerry_agent.runtime.wire import (
    Detokenize,
    Detokenized,
    Embedded,
    Frames,
    FromRunner,
    LoadFailed,
    Ping,
    Pong,
    Ready,
    Score,
    Scored,
    Stats,
    Tokenize,
    Tokenized,
    ToRunner,
    WireError,
    decode_from_runner,
    encode,
)

log = structlog.get_logger(__name__)

STDERR_DRAIN_S = 1.0
REAP_TIMEOUT_S = 2.0
READ_BYTES = 256 * 1024


class Runner:
    """One child process with one loaded model; made by ``start``, ended by ``stop``.

    Attributes:
        model: The file that it runs.
        info: What it learned from the file.
        pid: The process.
        engine: What its engine counted, as it last told.
        exited: Becomes done with the exit code (negative: the signal) when the process is gone and reaped.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        model: ModelFile,
        *,
        slots: int,
        limits: RuntimeLimits,
        meter: Meter,
    ) -> None:
        """Use ``start``."""
        self.model = model
        self.pid = process.pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._process = process
        self._limits = limits
        self._meter = meter
        self._jobs = Jobs(model.label, slots=slots, limits=limits, meter=self._meter, clock=time.monotonic)
        self._calls = Calls(self._jobs, self._meter, self, self._meter.of(model.sha256))
        self.engine = EngineStats()
        self._info: ModelInfo | None = None
        self._first: asyncio.Future[Ready | LoadFailed | None] = asyncio.get_running_loop().create_future()
        self._stderr = StderrTail(limits.max_stderr_bytes)
        self._stopping = False
        self._crashed = False
        self._killed_because: str | None = None
        self._pong = asyncio.Event()
        self._supervisor = asyncio.create_task(self._supervise(), name=f"runner-{process.pid}")

    @classmethod
    async def start(
        cls,
        model: ModelFile,
        *,
        options: RunnerOptions | None = None,
        limits: RuntimeLimits | None = None,
        meter: Meter | None = None,
        on_spawn: Callable[[int], None] | None = None,
        command: Sequence[str] | None = None,
    ) -> "Runner":
        """Start a process and load the model.

        Args:
            model: The file; its header was checked already.
            options: How to run it.
            limits: Bounds and deadlines.
            meter: Where to count.
            on_spawn: Told the process id as soon as there is one, before the model is loaded.
            command: Another program that speaks the protocol, for tests.

        Raises:
            ModelLoadError: It does not load, not in time, or the process died of it. No process is left.
        """
        options = options or RunnerOptions()
        limits = limits or RuntimeLimits()
        began = time.monotonic()
        try:
            environment = runner_environment(
                os.environ, threads=options.thread_count, huge_pages=options.huge_pages
            )
            process = await spawn(command or runner_command(), environment)
        except OSError as error:
            raise ModelLoadError(f"{model.label}: the runner process cannot be started: {error}") from error
        if on_spawn is not None:
            on_spawn(process.pid)
        runner = cls(process, model, slots=options.slots, limits=limits, meter=meter or Meter())
        await runner._load(options, began)
        return runner

    @property
    def info(self) -> ModelInfo:
        """What the runner learned from the model."""
        if self._info is None:
            raise RuntimeError("the runner is still loading")
        return self._info

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return not self._stopping and self._killed_because is None and not self.exited.done()

    @property
    def crashed(self) -> bool:
        """Whether the process ended without having been asked to."""
        return self._crashed

    @property
    def in_flight(self) -> int:
        """Requests in the runner, waiting or running."""
        return len(self._jobs)

    @property
    def queue_depth(self) -> int:
        """Requests that wait."""
        return self._jobs.waiting

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the process, in bytes."""
        return 0 if self.exited.done() else resident_bytes(self.pid)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateEvent, None]:
        """Run one request; TokenEvents, then exactly one FinishEvent.

        All errors come from the first step of the iteration or a later one, never from the call itself.
        Closing the generator early cancels the request in the runner; wrap it in ``contextlib.aclosing``.

        Raises:
            InvalidRequestError: The request cannot be run (PromptTooLongError, NoChatTemplateError as well).
            QueueFullError: ``max_queue`` requests wait already.
            RunnerCrashedError: The process ended under the request.
            ModelUnavailableError: The runner is being stopped.
            GenerationFailedError: The engine failed at this request alone.
        """
        async with aclosing(self._calls.generate(request)) as events:
            async for event in events:
                yield event

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """Compute vectors; cancelling the call cancels the request in the runner.

        Raises:
            As ``generate``.
        """
        return (await self._calls.ask(Embedded, lambda: self._jobs.admit_embed(request))).result

    async def score(self, text: str, adapters: tuple[AdapterFile, ...] = ()) -> tuple[int, float]:
        """How many tokens of a text were scored, and the sum of their -ln p; perplexity is exp of the mean.

        Args:
            text: The text.
            adapters: LoRA adapters on the model that score it.

        Raises:
            As ``generate``.
        """
        scored = await self._ask(Scored, lambda number: Score(number, text, adapters))
        return scored.tokens, scored.nats

    async def tokenize(self, text: str, *, add_special: bool = False) -> list[int]:
        """The tokens of a text; names of special tokens in it count as such.

        Args:
            text: Valid Unicode.
            add_special: Let the model add its begin-of-sequence token, if it is made for that.
        """
        answer = await self._ask(Tokenized, lambda number: Tokenize(number, text, add_special))
        return list(answer.tokens)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens; what is no character in it becomes U+FFFD.

        Raises:
            InvalidRequestError: A token does not exist.
        """
        answer = await self._ask(Detokenized, lambda number: Detokenize(number, tuple(tokens)))
        return answer.data.decode(errors="replace")

    async def _ask(self, kind: type[T], make: Callable[[int], ToRunner]) -> T:
        return await self._calls.ask(kind, lambda: self._jobs.enter("", make))

    async def stop(self) -> None:
        """End the process: by closing its pipe, after ``stop_timeout_s`` by SIGKILL. Again is fine.

        Requests in flight end with ``ModelUnavailableError``.
        """
        self._stopping = True
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(self._limits.stop_timeout_s):
                await asyncio.shield(self.exited)
        except TimeoutError:
            await self._kill(f"it did not end within {self._limits.stop_timeout_s:g} s")
        await self._supervisor

    def crash_error(self) -> RunnerCrashedError:
        """What to tell about the end of the process, with signal or exit code and the last line of stderr."""
        code = self.exited.result() if self.exited.done() else None
        message = f"the runner of {self.model.label} {self._ending()}; try again"
        return RunnerCrashedError(message, exit_code=code, stderr_tail=self._stderr.text)

    def _ending(self) -> str:
        code = self.exited.result() if self.exited.done() else None
        return describe_crash(code, killed_because=self._killed_because, stderr_tail=self._stderr.text)

    def write(self, frame: bytes) -> None:
        """Send a message to the process; nothing happens when its pipe is closed."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(frame)

    async def send(self, frame: bytes) -> None:
        """Write, and wait while the pipe is full. A broken pipe is no error: the supervisor sees the end."""
        self.write(frame)
        if self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                await self._process.stdin.drain()

    def end_error(self) -> ModelUnavailableError:
        """Why it takes no requests any more."""
        if self._stopping:
            return ModelUnavailableError(f"{self.model.label} was unloaded before it had answered; try again")
        return self.crash_error()

    async def _load(self, options: RunnerOptions, began: float) -> None:
        limit = self._limits.load_timeout_s
        try:
            async with asyncio.timeout(limit):
                ready = await self._ask_to_load(options)
        except BaseException as error:
            await self._kill("the load failed")
            if isinstance(error, TimeoutError):
                raise ModelLoadError(f"{self.model.label} did not load within {limit:g} s") from error
            raise
        self._info = model_info(ready, load_ms=(time.monotonic() - began) * 1e3)
        self._meter.loads += 1
        if ready.draft_refused:
            log.warning("draft_model_refused", model=self.model.label, reason=ready.draft_refused)
        log.info("runner_ready", model=self.model.label, pid=self.pid, load_ms=round(self._info.load_ms))

    async def _ask_to_load(self, options: RunnerOptions) -> Ready:
        await self.send(encode(load_message(self.model, options)))
        answer = await asyncio.shield(self._first)
        if answer is None:
            raise ModelLoadError(f"{self.model.label} does not load: its runner {self._ending()}")
        if isinstance(answer, LoadFailed):
            raise ModelLoadError(f"{self.model.label} does not load: {answer.message}")
        return answer

    async def _kill(self, reason: str) -> None:
        self._kill_now(reason)
        await asyncio.shield(self._supervisor)

    def _kill_now(self, reason: str) -> None:
        if self.exited.done():
            return
        self._killed_because = self._killed_because or reason
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _supervise(self) -> None:
        """Own the process until it is gone and reaped; then end all that waits for it."""
        async with asyncio.TaskGroup() as group:
            stderr = group.create_task(self._collect_stderr(), name=f"runner-{self.pid}-stderr")
            watch = group.create_task(self._watch(), name=f"runner-{self.pid}-watch")
            try:
                await self._read()
            except WireError as error:
                self._kill_now(f"it broke the protocol ({error})")
            except asyncio.CancelledError:
                self._kill_now("the daemon's loop ends")
                raise
            finally:
                watch.cancel()
                code = await self._reap()
                await asyncio.wait({stderr}, timeout=STDERR_DRAIN_S)
                stderr.cancel()
                self._end(code)

    def _end(self, code: int) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._crashed = not self._stopping
        self.exited.set_result(code)
        if not self._first.done():
            self._first.set_result(None)
        ended = self._jobs.end()
        if self._stopping or self._info is None:
            log.info("runner_ended", model=self.model.label, pid=self.pid, exit_code=code)
        else:
            log.warning(
                "runner_crashed", model=self.model.label, pid=self.pid, exit_code=code, requests=ended
            )

    async def _reap(self) -> int:
        """Wait for the process after its pipe has ended; one that lives on without it is killed."""
        try:
            async with asyncio.timeout(REAP_TIMEOUT_S):
                return await self._process.wait()
        except TimeoutError:
            self._kill_now("it closed its pipe and went on")
            return await self._process.wait()

    async def _collect_stderr(self) -> None:
        if self._process.stderr is not None:
            await self._stderr.collect(self._process.stderr)

    async def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        frames = Frames()
        with contextlib.suppress(ConnectionError):
            while data := await stream.read(READ_BYTES):
                for body in frames.feed(data):
                    self._take(decode_from_runner(body))

    def _take(self, message: FromRunner) -> None:
        if isinstance(message, Pong):
            self._pong.set()
        elif isinstance(message, Ready | LoadFailed):
            if self._first.done():
                raise WireError("it loaded twice")
            self._first.set_result(message)
        elif isinstance(message, Stats):
            self.engine = message.values
        else:
            self._jobs.take(message)

    async def _watch(self) -> None:
        """Kill a process that does not answer, or an engine that stands still under a request."""
        limits = self._limits
        while True:
            await asyncio.sleep(limits.ping_interval_s or limits.stall_timeout_s / 4)
            if limits.ping_interval_s and self._first.done():
                self._pong.clear()
                self.write(encode(Ping(0)))
                try:
                    async with asyncio.timeout(limits.ping_timeout_s):
                        await self._pong.wait()
                except TimeoutError:
                    self._kill_now(f"it did not answer for {limits.ping_timeout_s:g} s")
            if self._jobs.stalled_s > limits.stall_timeout_s:
                self._kill_now(f"a request made no progress for {limits.stall_timeout_s:g} s")
