"""Runs all requests that hold a place, one step after another; belongs to the engine's thread."""

import time
from collections import Counter
from typing import Literal

from skerry_agent.runtime.adapter_turns import AdapterTurns
from skerry_agent.runtime.chunk_size import ChunkSize
from skerry_agent.runtime.engine_ports import NO_TOKEN, Model, NoRoomError, Part, StepAbortedError
from skerry_agent.runtime.engine_stats import EngineStats
from skerry_agent.runtime.failures import failure
from skerry_agent.runtime.job_state import JobState
from skerry_agent.runtime.kv_cache import KvCache
from skerry_agent.runtime.long_step import LONG_STEP_S, LongStep
from skerry_agent.runtime.prefix_domain import prefix_domain
from skerry_agent.runtime.prefix_tree import common_length
from skerry_agent.runtime.requests import FinishReason
from skerry_agent.runtime.speculation import MAX_JOBS, Speculation
from skerry_agent.runtime.wire import Cancelled, FromRunner, Progress, Token

PROGRESS_INTERVAL_S = 1.0
MIN_FOLLOWED_TOKENS = 32
"""So many more tokens a leader's prompt has to save before it is worth waiting for them."""
MIN_ANSWER_TOKENS = 4
MIN_FREE_CELLS = 64
"""With fewer nothing is guessed: the cells are for the answers."""
HEADROOM_TOKENS = 16
"""Cells for each running answer that a new request leaves free."""
ShareScope = Literal["all", "client", "off"]


class Batcher:
    """The requests that hold a place.

    Args:
        model: The loaded model.
        kv: Its cache.
        chunk: How much of prompts goes into one step.
        share: Between whom prefixes are shared.
        stats: Where to count.
        speculation: Says how many tokens to guess; None guesses none.

    Attributes:
        waiting: Requests with a place whose sequence cannot begin yet.
        active: Requests with a sequence, in the order in which they began.
        out: Messages of the last steps, to be taken by the caller.
        ended: Numbers of requests that are over, to be taken by the caller.
        long_step: Told of requests that come and go while a step is computed.
    """

    def __init__(
        self,
        model: Model,
        kv: KvCache,
        *,
        chunk: ChunkSize,
        share: ShareScope,
        stats: EngineStats,
        speculation: Speculation | None = None,
    ) -> None:
        self._model = model
        self._kv = kv
        self._chunk = chunk
        self._share: ShareScope = share
        self._stats = stats
        self._speculation = speculation if model.shares else None
        self._turns = AdapterTurns(model, stats)
        self._adapted = False  # some active request has adapters, or the last step had
        self.waiting: list[JobState] = []
        self.active: list[JobState] = []
        self.out: list[FromRunner] = []
        self.ended: list[int] = []
        self.long_step = LongStep(model.break_off)
        self._long = False

    @property
    def places(self) -> int:
        """How many requests hold one."""
        return len(self.waiting) + len(self.active)

    def held_by(self) -> Counter[str]:
        """How many places each client holds."""
        return Counter(job.client for job in (*self.waiting, *self.active))

    def drop_cancelled(self) -> None:
        """End those whose clients are gone."""
        for job in [job for job in (*self.active, *self.waiting) if job.cancelled]:
            self._end(job, Cancelled(job.number), keep=True)

    def step(self) -> None:
        """Compute the next token of each answer, and the next piece of prompts.

        Raises:
            EngineBrokenError: The process has to end.
        """
        self._begin_waiting()
        planned = self._plan()
        if planned:
            self._run(planned)

    def fail_all(self, error: Exception) -> None:
        """End all requests after an error that is nobody's own."""
        for job in (*self.active, *self.waiting):
            self._fail(job, error)

    def _begin_waiting(self) -> None:
        for job in tuple(self.waiting):
            if self._follows(job) or (job.request.adapters and not self._load_adapters(job)):
                continue
            if not self._begin(job):
                if not self.active:
                    self._fail(job, MemoryError("an empty cache has no room"))
                break

    def _domain(self, job: JobState) -> str | None:
        if self._share == "off" or not job.request.prefix_cache or not self._model.shares:
            return None
        return prefix_domain(job.client if self._share == "client" else "", job.request.adapters)

    def _load_adapters(self, job: JobState) -> bool:
        try:
            self._model.load_adapters(job.request.adapters)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this job and not the others
            self._fail(job, error)
            return False
        self._adapted = True
        return True

    def _turn(self) -> list[JobState]:
        """The active requests that may go into one step: those with equal adapters."""
        if not self._adapted:
            return self.active
        chosen = self._turns.choose(self.active)
        self._adapted = self._turns.current != () or len(chosen) < len(self.active)
        return chosen

    def _follows(self, job: JobState) -> bool:
        """Whether another request reads the beginning of this one's prompt at the moment."""
        if job.leader is not None:
            leader, length = job.leader
            if leader in self.active and leader.position < length:
                return True
            job.leader = None
        domain = self._domain(job)
        if domain is None:
            return False
        known = self._kv.known(job.tokens, domain)
        for other in self.active:
            if other.decoding or self._domain(other) != domain:
                continue
            length = common_length(other.tokens, job.tokens)
            if length - known >= MIN_FOLLOWED_TOKENS and other.position < length:
                job.leader = (other, length)
                return True
        return False

    def _begin(self, job: JobState) -> bool:
        held = self._kv.begin(job.tokens, self._domain(job))
        if held is None:
            return False
        wanted = len(job.tokens) - held.length
        wanted += sum(other.pending + HEADROOM_TOKENS for other in self.active)
        if not self._kv.make_room(wanted) and self.active:
            self._kv.finish(held, None)
            return False
        job.held = held
        self.waiting.remove(job)
        self.active.append(job)
        if not job.started:
            job.started = job.last_sent = time.perf_counter()
            job.cached_tokens = held.length
            self._stats.cached_tokens += held.length
            self._stats.prefix_hits += held.length > 0
            self.out.append(Progress(job.number))
        return True

    def _plan(self) -> list[tuple[JobState, Part]]:
        """The next step: first a token of each answer, then pieces of prompts, as many as fit."""
        reading: list[JobState] = []
        writing: list[JobState] = []
        group = self._turn()
        for job in group:
            (writing if job.decoding else reading).append(job)
        writing = writing[: self._model.batch_tokens]
        planned = [(job, self._part(job, 1)) for job in writing]
        if self._speculation is not None and not reading and len(writing) <= MAX_JOBS:
            planned = [(job, self._with_guesses(job, part, len(writing))) for job, part in planned]
        # Nobody waits for the step to end: it may be long.
        self._long = not writing and self._model.shares and len(group) == len(self.active)
        budget = self._chunk.tokens(len(planned), LONG_STEP_S if self._long else None)
        self._stats.chunk_tokens = budget
        for job in reading:
            if budget <= 0:
                break
            piece = min(job.pending, budget)
            planned.append((job, self._part(job, piece)))
            budget -= piece
        return self._fit(planned)

    def _part(self, job: JobState, count: int) -> Part:
        if job.held is None:
            raise RuntimeError("an active request has no sequence")
        start = job.held.length
        outputs = 1 if start + count == len(job.tokens) else 0
        return Part(job.held.number, start, job.tokens[start : start + count], outputs)

    def _with_guesses(self, job: JobState, part: Part, decoding: int) -> Part:
        """The next token of an answer, and what may come after it."""
        scarce = self._kv.free_cells <= MIN_FREE_CELLS
        if self._speculation is None or job.completion_tokens < MIN_ANSWER_TOKENS or scarce:
            return part
        if job.guesses is None:
            job.guesses = self._speculation.begin(job.tokens)
        most = job.limit - job.completion_tokens - 1
        guesses = self._speculation.guess(job.guesses, decoding, most)
        self._stats.drafted_tokens += len(guesses)
        return part._replace(tokens=[*part.tokens, *guesses], outputs=1 + len(guesses))

    def _fit(self, planned: list[tuple[JobState, Part]]) -> list[tuple[JobState, Part]]:
        """Have cells for the step: evict, then leave prompts out, then let the youngest answer wait again."""
        while planned:
            if self._kv.make_room(sum(len(part.tokens) for _, part in planned)):
                break
            job, _ = planned.pop()
            if job.decoding or not planned:
                self._preempt(self.active[-1])
                planned = [entry for entry in planned if entry[0].held is not None]
        return planned

    def _preempt(self, job: JobState) -> None:
        """Give a request's cells back; it goes on later, from what is still cached of it then."""
        if len(self.active) == 1:
            self._fail(job, MemoryError("the cache is full"))
            return
        self._stats.preemptions += 1
        held, job.held = job.held, None
        if held is not None:
            self._kv.finish(held, job.tokens[: held.length])
        self.active.remove(job)
        self.waiting.insert(0, job)

    def _run(self, planned: list[tuple[JobState, Part]]) -> None:
        began = time.perf_counter()
        self._grow(planned, 1)
        if self._long:
            self.long_step.begin()
        try:
            rows = self._model.decode([part for _, part in planned])
        except NoRoomError:
            self._grow(planned, -1)
            # Our count says that there was room; llama.cpp decides.
            if not self._kv.make_room(self._kv.free_cells + sum(len(part.tokens) for _, part in planned)):
                self._preempt(self.active[-1])
            return
        except StepAbortedError:
            self._grow(planned, -1)
            for _, part in planned:
                self._model.cut(part.sequence, part.position)
            return
        finally:
            self.long_step.end()
        took = time.perf_counter() - began
        prompt_parts = [part for job, part in planned if not job.decoding_before(part)]
        prompt_tokens = sum(len(part.tokens) for part in prompt_parts)
        self._chunk.observe(took, decoding=len(planned) - len(prompt_parts), prompt_tokens=prompt_tokens)
        if self._speculation is not None and not prompt_parts:
            self._speculation.times.observe(sum(len(part.tokens) for _, part in planned), took)
        self._stats.steps += 1
        self._stats.decode_s += took
        self._stats.prompt_tokens += prompt_tokens
        for (job, part), row in zip(planned, rows, strict=True):
            self._advance(job, part, row)

    def _grow(self, planned: list[tuple[JobState, Part]], sign: int) -> None:
        for job, part in planned:
            if job.held is not None:
                self._kv.grow(job.held, sign * len(part.tokens))

    def _advance(self, job: JobState, part: Part, row: int) -> None:
        try:
            if job.held is not None and not job.prompt_done:
                self._kv.publish(job.held, job.tokens[: job.held.length])
            if not part.outputs:
                self._show_progress(job, time.perf_counter())
                return
            reason = self._take_tokens(job, part, row)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this job and not the others
            self._fail(job, error)
            return
        if reason is not None:
            self._send_text(job, "" if job.stream.stopped else job.stream.finish(), last=True)
            self._end(job, job.finished(reason), keep=True)

    def _take_tokens(self, job: JobState, part: Part, row: int) -> FinishReason | None:
        """Sample what follows the last token, and what follows each guess that was right."""
        if part.outputs == 1 and job.guesses is None:
            return self._take_token(job, row)
        guesses = part.tokens[len(part.tokens) - part.outputs + 1 :]
        reason, right = None, 0
        for i in range(part.outputs):
            reason = self._take_token(job, row - part.outputs + 1 + i)
            if reason is not None or i == len(guesses) or job.tokens[-1] != guesses[i]:
                break
            right += 1
        wrong = len(guesses) - right
        if wrong and job.held is not None:
            self._model.cut(part.sequence, job.held.length - wrong)
            self._kv.grow(job.held, -wrong)
        if job.guesses is not None:
            job.guesses.learn(len(guesses), right)
            self._stats.accepted_tokens += right
        return reason

    def _take_token(self, job: JobState, row: int) -> FinishReason | None:
        if job.sampler is None:
            raise RuntimeError("a request has no sampler")
        began = time.perf_counter()
        token = job.sampler.next(row)
        job.last_token = now = time.perf_counter()
        self._stats.sample_s += now - began
        job.first_token = job.first_token or now
        job.prompt_done = job.prompt_done or began
        if token == NO_TOKEN or self._model.is_end(token):
            return "stop"
        job.tokens.append(token)
        job.completion_tokens += 1
        self._stats.completion_tokens += 1
        if job.request.logprobs is not None:
            job.logprobs.append(self._model.logprobs(row, token, job.request.logprobs))
        self._send_text(job, job.stream.feed(self._model.piece(token)))
        if job.stream.stopped:
            return "stop"
        return "length" if job.completion_tokens >= job.limit else None

    def _send_text(self, job: JobState, text: str, *, last: bool = False) -> None:
        if text or (last and job.logprobs):
            job.last_sent = job.last_token
            self.out.append(Token(job.number, text, tuple(job.logprobs)))
            job.logprobs.clear()
        else:
            self._show_progress(job, job.last_token)

    def _show_progress(self, job: JobState, now: float) -> None:
        """Let the daemon see that the engine moves on, though there is nothing to show."""
        if now - job.last_sent >= PROGRESS_INTERVAL_S:
            job.last_sent = now
            self.out.append(Progress(job.number))

    def _fail(self, job: JobState, error: Exception) -> None:
        self._end(job, failure(job.number, error), keep=False)

    def _end(self, job: JobState, message: FromRunner, *, keep: bool) -> None:
        """Give up its place. ``keep`` says whether what it has in the cache may serve others."""
        held, job.held = job.held, None
        if held is not None:
            self._kv.finish(held, job.tokens[: held.length] if keep else None)
        (self.active if job in self.active else self.waiting).remove(job)
        job.release()
        self.out.append(message)
        self.ended.append(job.number)
