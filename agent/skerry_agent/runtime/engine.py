"""Runs requests on the loaded model, one after another, in a thread of its own.

The interface is submit, cancel and events; it does not show that the engine is serial.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from skerry_agent.runtime.chat_template import ChatTemplate, TemplateBrokenError, TemplateRefusedError
from skerry_agent.runtime.errors import NoChatTemplateError, PromptTooLongError
from skerry_agent.runtime.requests import FinishReason, GenerateRequest, Sampling, Timings, Usage
from skerry_agent.runtime.text_stream import TextStream
from skerry_agent.runtime.thread_governor import ThreadControl
from skerry_agent.runtime.wire import Cancelled, Failed, Finished, FromRunner, Progress, Token

# Some of llama.cpp's pre-tokenizers recurse for each character (std::regex), which ends the usual 8 MiB at
# some 100 kB of text. This is address space; only what is used becomes memory.
ENGINE_STACK_BYTES = 256 * 1024 * 1024
PROGRESS_INTERVAL_S = 1.0


class Sampler(Protocol):
    """Chooses the tokens of one request."""

    def next(self) -> int:
        """The token that follows the last decoded one."""

    def close(self) -> None:
        """Free it."""


class Model(Protocol):
    """What the engine needs of a loaded model; ``LlamaModel`` is the real one."""

    context_tokens: int
    batch_tokens: int

    def tokenize(self, text: str, *, add_special: bool) -> list[int]:
        """The tokens of a text."""

    def piece(self, token: int) -> bytes:
        """The bytes of a token."""

    def is_end(self, token: int) -> bool:
        """Whether a token ends the generation."""

    def forget(self) -> None:
        """Clear the context."""

    def decode(self, tokens: Sequence[int], position: int, *, want_logits: bool) -> None:
        """Compute tokens at a position."""

    def sampler(self, sampling: Sampling, prompt: Sequence[int]) -> Sampler:
        """A sampler for one request."""


@dataclass(slots=True, eq=False)
class _Job:
    number: int
    request: GenerateRequest
    submitted: float
    cancelled: bool = False
    started: float = 0.0
    prompt_tokens: int = 0
    prompt_done: float = 0.0
    first_token: float = 0.0
    last_token: float = 0.0
    completion_tokens: int = 0
    last_sent: float = 0.0

    def timings(self) -> Timings:
        decode_s = self.last_token - self.first_token
        rate = (self.completion_tokens - 1) / decode_s if self.completion_tokens > 1 and decode_s > 0 else 0.0
        first = self.first_token or self.prompt_done
        return Timings(
            queue_ms=(self.started - self.submitted) * 1e3,
            prompt_ms=(self.prompt_done - self.started) * 1e3,
            first_token_ms=(first - self.submitted) * 1e3,
            decode_ms=max(decode_s, 0.0) * 1e3,
            decode_tokens_per_s=rate,
        )


class _CancelledError(Exception):
    """The job that runs was cancelled."""


class Engine:
    """Owns the model: no other thread may touch it.

    Args:
        model: The loaded model.
        template: Its chat template; None when it has none; an error when that is broken.
        bos_text: Text of its begin-of-sequence token, "" for none.
        emit: Takes the events, from the engine's thread and from that of ``cancel``.
        threads: Adapts the model's threads after each step; None leaves them.
    """

    def __init__(
        self,
        model: Model,
        *,
        template: ChatTemplate | TemplateBrokenError | None,
        bos_text: str,
        emit: Callable[[FromRunner], None],
        threads: ThreadControl | None = None,
    ) -> None:
        self._model = model
        self._template = template
        self._bos_text = bos_text
        self._emit = emit
        self._threads = threads
        self._wakeup = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._running: _Job | None = None
        self._closed = False

    def start(self) -> threading.Thread:
        """Start the engine's thread; it ends after ``close``, and never keeps the process alive."""
        before = threading.stack_size(ENGINE_STACK_BYTES)
        try:
            thread = threading.Thread(target=self.run, name="engine", daemon=True)
            thread.start()
        finally:
            threading.stack_size(before)
        return thread

    def submit(self, number: int, request: GenerateRequest) -> None:
        """Put a request at the end of the queue. Its events carry the number."""
        with self._wakeup:
            self._waiting.append(_Job(number, request, submitted=time.perf_counter()))
            self._wakeup.notify()

    def cancel(self, number: int) -> None:
        """Drop a waiting request, or stop the running one before its next step; unknown numbers are fine."""
        with self._wakeup:
            if self._running is not None and self._running.number == number:
                self._running.cancelled = True
                return
            job = next((job for job in self._waiting if job.number == number), None)
            if job is None:
                return
            self._waiting.remove(job)
        self._emit(Cancelled(number))

    def close(self) -> None:
        """End the thread before its next step; waiting requests get no more events."""
        with self._wakeup:
            self._closed = True
            self._waiting.clear()
            if self._running is not None:
                self._running.cancelled = True
            self._wakeup.notify()

    def run(self) -> None:
        """Work until ``close``."""
        while True:
            with self._wakeup:
                self._running = None
                while not self._waiting and not self._closed:
                    self._wakeup.wait()
                if self._closed:
                    return
                job = self._running = self._waiting.popleft()
            self._emit(self._finish(job))

    def _finish(self, job: _Job) -> FromRunner:
        """Run a job to its last message."""
        job.started = job.last_sent = time.perf_counter()
        self._emit(Progress(job.number))
        try:
            reason = self._generate(job)
        except _CancelledError:
            return Cancelled(job.number)
        except PromptTooLongError as error:
            return Failed(
                job.number, "prompt_too_long", str(error), error.prompt_tokens, error.context_tokens
            )
        except (NoChatTemplateError, TemplateBrokenError) as error:
            return Failed(job.number, "no_chat_template", str(error))
        except TemplateRefusedError as error:
            return Failed(job.number, "invalid_request", str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this job and not the others
            # Only the type: the text of an error may quote the prompt.
            sys.stderr.write(f"job {job.number} failed: {type(error).__name__}\n")
            return Failed(job.number, "failed", f"the engine failed at this request ({type(error).__name__})")
        finally:
            self._model.forget()
        usage = Usage(prompt_tokens=job.prompt_tokens, completion_tokens=job.completion_tokens)
        return Finished(job.number, reason, usage, job.timings())

    def _generate(self, job: _Job) -> FinishReason:
        tokens = self._prompt_tokens(job.request)
        job.prompt_tokens = len(tokens)
        room = self._model.context_tokens - len(tokens)
        if room < 1:
            raise PromptTooLongError(len(tokens), self._model.context_tokens)
        self._prefill(job, tokens)
        limit = min(job.request.max_tokens or room, room)
        sampler = self._model.sampler(job.request.sampling, tokens)
        try:
            return self._decode(job, sampler, limit)
        finally:
            sampler.close()

    def _prompt_tokens(self, request: GenerateRequest) -> list[int]:
        if request.messages is None:
            tokens = self._model.tokenize(request.prompt or "", add_special=True)
        else:
            if self._template is None:
                raise NoChatTemplateError
            if isinstance(self._template, TemplateBrokenError):
                raise self._template
            text = self._template.render(request.messages)
            # As llama.cpp does it: a model that is made for a begin-of-sequence token gets exactly one.
            has_bos = bool(self._bos_text) and text.startswith(self._bos_text)
            tokens = self._model.tokenize(text, add_special=not has_bos)
        # An empty prompt of a model without a begin-of-sequence token: there is nothing to compute.
        return tokens or self._model.tokenize("\n", add_special=False)

    def _prefill(self, job: _Job, tokens: list[int]) -> None:
        step = self._model.batch_tokens
        for start in range(0, len(tokens), step):
            self._check(job)
            part = tokens[start : start + step]
            self._model.decode(part, start, want_logits=start + len(part) == len(tokens))
            self._after_step()
            self._show_progress(job)
        job.prompt_done = time.perf_counter()

    def _decode(self, job: _Job, sampler: Sampler, limit: int) -> FinishReason:
        stream = TextStream(job.request.stop)
        position = job.prompt_tokens
        while True:
            self._check(job)
            token = sampler.next()
            job.last_token = time.perf_counter()
            job.first_token = job.first_token or job.last_token
            if self._model.is_end(token):
                self._send_text(job, stream.finish())
                return "stop"
            job.completion_tokens += 1
            self._send_text(job, stream.feed(self._model.piece(token)))
            if stream.stopped:
                return "stop"
            if job.completion_tokens >= limit:
                self._send_text(job, stream.finish())
                return "length"
            self._model.decode([token], position, want_logits=True)
            self._after_step()
            position += 1

    def _after_step(self) -> None:
        if self._threads is not None:
            self._threads.after_step()

    def _check(self, job: _Job) -> None:
        if job.cancelled:
            raise _CancelledError

    def _send_text(self, job: _Job, text: str) -> None:
        if text:
            job.last_sent = time.perf_counter()
            self._emit(Token(job.number, text))
        else:
            self._show_progress(job)

    def _show_progress(self, job: _Job) -> None:
        """Let the daemon see that the engine moves on, though there is nothing to show."""
        now = time.perf_counter()
        if now - job.last_sent >= PROGRESS_INTERVAL_S:
            job.last_sent = now
            self._emit(Progress(job.number))
