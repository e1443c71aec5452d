"""Runs requests on the loaded model, as many at once as it has places, in a thread of its own.

The interface is submit, cancel and events. A request passes through the intake (tokens), the queue (its turn)
and the batcher (a place in every step).
"""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from skerry_agent.runtime.batcher import Batcher, ShareScope
from skerry_agent.runtime.chunk_size import ChunkSize
from skerry_agent.runtime.draft import Draft
from skerry_agent.runtime.embedding import Embedder, EmbedJob, EmbedModel
from skerry_agent.runtime.engine_ports import EngineBrokenError, Model
from skerry_agent.runtime.engine_stats import EngineStats
from skerry_agent.runtime.fair_queue import FairQueue
from skerry_agent.runtime.intake import Intake, Preparer
from skerry_agent.runtime.job_state import JobState
from skerry_agent.runtime.kv_cache import KvCache
from skerry_agent.runtime.parked_prefixes import PARK_AFTER_S
from skerry_agent.runtime.prefix_saver import PrefixSaver
from skerry_agent.runtime.prefix_store import PrefixStore
from skerry_agent.runtime.prompt_reader import PromptReader
from skerry_agent.runtime.requests import EmbedRequest, GenerateRequest
from skerry_agent.runtime.scoring import ScoreJob, ScoreModel, Scorer
from skerry_agent.runtime.speculation import Speculation
from skerry_agent.runtime.thread_governor import ThreadControl
from skerry_agent.runtime.wire import (
    Cancelled,
    Detokenize,
    Failed,
    FromRunner,
    Progress,
    Score,
    Stats,
    Tokenize,
)

# Some of llama.cpp's pre-tokenizers recurse for each character (std::regex), which ends the usual 8 MiB at
# some 100 kB of text. This is address space; only what is used becomes memory.
THREAD_STACK_BYTES = 256 * 1024 * 1024
STATS_INTERVAL_S = 1.0
STEPS_BETWEEN_PARKING = 8
PAUSE_BETWEEN_PARKING_S = 0.02
MAX_GUESSING_STEP = 9  # two answers and the largest guess


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine works.

    Attributes:
        slots: Requests that run at the same time.
        step_target_s: How long a step with pieces of prompts may take, in seconds.
        share_prefixes: Between whom prefixes are shared: all, requests of one client, or nobody.
        speculate: Guess tokens from the text before where measurements say that it pays.
        parked_tokens: Tokens of prefixes that are kept outside the cache, in memory.
    """

    slots: int = 8
    step_target_s: float = 0.08
    share_prefixes: ShareScope = "all"
    speculate: bool = True
    parked_tokens: int = 0


class Engine:
    """Owns the model: no other thread may touch its cache.

    Args:
        model: The loaded model.
        reader: Turns requests into tokens.
        emit: Takes events, several at once, from the engine's threads and from that of ``cancel``.
        on_broken: Called when llama.cpp failed for good; it should end the process.
        open_embed_model: Makes the context for vectors.
        open_score_model: Makes the context for scores.
        threads: Adapts the model's threads after each step; None leaves them.
        options: How it works.
        store: Where prefixes are saved; None saves none.
        draft: A second model that guesses too; None for none.
    """

    def __init__(
        self,
        model: Model,
        *,
        reader: PromptReader,
        emit: Callable[[Sequence[FromRunner]], None],
        on_broken: Callable[[EngineBrokenError], None],
        open_embed_model: Callable[[], EmbedModel],
        open_score_model: Callable[[], ScoreModel],
        threads: ThreadControl | None = None,
        options: EngineOptions | None = None,
        store: PrefixStore | None = None,
        draft: Draft[Any] | None = None,
    ) -> None:
        options = options or EngineOptions()
        self._emit = emit
        self._on_broken = on_broken
        self._threads = threads
        self._slots = options.slots
        saves = store is not None and options.share_prefixes != "off" and model.shares
        self._kv = KvCache(
            model, spare=saves or options.parked_tokens > 0, max_parked_tokens=options.parked_tokens
        )
        self._stats = EngineStats(kv_tokens=model.kv_tokens)
        self._batcher = Batcher(
            model,
            self._kv,
            chunk=ChunkSize(model.batch_tokens, options.step_target_s),
            share=options.share_prefixes,
            stats=self._stats,
            speculation=Speculation(MAX_GUESSING_STEP, draft.open if draft is not None else None)
            if options.speculate
            else None,
        )
        self._draft = draft
        self._saver: PrefixSaver | None = None
        if store is not None and saves:
            everybody = options.share_prefixes == "all"
            self._saver = PrefixSaver(store, model, self._kv, all_clients=everybody)
            self._saver.restore()
            self._stats.restored_tokens = self._saver.restored_tokens
        self._intake = Intake()
        self._prepare = Preparer(model, reader)
        self._embedder = Embedder(open_embed_model)
        self._scorer = Scorer(open_score_model)
        self._wakeup = threading.Condition()
        self._jobs: dict[int, JobState | EmbedJob | ScoreJob] = {}
        self._queue: FairQueue[JobState] = FairQueue()
        self._closed = False
        self._stats_due = 0.0
        self._parking_due = 0

    def start(self) -> list[threading.Thread]:
        """Start the engine's threads; they end after ``close``, and never keep the process alive."""
        before = threading.stack_size(THREAD_STACK_BYTES)
        try:
            threads = [
                threading.Thread(target=work, name=name, daemon=True)
                for name, work in (("engine", self.run), ("intake", self._intake.run))
            ]
            for thread in threads:
                thread.start()
        finally:
            threading.stack_size(before)
        return threads

    def submit(self, number: int, request: GenerateRequest) -> None:
        """Take a request. Its events carry the number."""
        job = JobState(number, request)
        if request.deadline_s is not None:
            job.expires = job.submitted + request.deadline_s
        self._note(job)

    def embed(self, number: int, request: EmbedRequest) -> None:
        """Take a request for vectors."""
        self._note(EmbedJob(number, request))

    def score(self, question: Score) -> None:
        """Take a text whose probability is to be found."""
        self._note(ScoreJob(question.job, question.text, question.adapters))

    def _note(self, job: JobState | EmbedJob | ScoreJob) -> None:
        with self._wakeup:
            self._jobs[job.number] = job
        self._intake.put(lambda: self._take_in(job))

    def ask(self, question: Tokenize | Detokenize) -> None:
        """Take a question about tokens."""
        self._intake.put(lambda: self._emit([self._prepare.answer(question)]))

    def cancel(self, number: int) -> None:
        """Drop a waiting request, or stop a running one before its next step; unknown numbers are fine."""
        with self._wakeup:
            job = self._jobs.get(number)
            if job is None:
                return
            job.cancelled = True
            if job.running:
                self._batcher.long_step.somebody_left()
                return
            del self._jobs[number]
            if isinstance(job, JobState):
                self._queue.remove(job)
                job.release()
        self._emit([Cancelled(number)])

    def close(self) -> None:
        """End the threads before their next step; requests get no more events."""
        self._intake.close()
        with self._wakeup:
            self._closed = True
            self._wakeup.notify()

    def _take_in(self, job: JobState | EmbedJob | ScoreJob) -> None:
        """In the intake's thread: make a request ready, and pass it on or end it."""
        if job.number not in self._jobs:
            return  # cancelled
        failed = self._prepare.ready(job)
        with self._wakeup:
            if job.number not in self._jobs:
                if isinstance(job, JobState):
                    job.release()
                return
            if failed is None:
                if isinstance(job, JobState):
                    self._queue.put(job)
                    if self._batcher.places < self._slots:
                        self._batcher.long_step.somebody_came()
                elif isinstance(job, EmbedJob):
                    self._embedder.put(job)
                else:
                    self._scorer.put(job)
                self._wakeup.notify()
                return
            del self._jobs[job.number]
        self._emit([failed])

    def run(self) -> None:
        """Work until ``close``."""
        while self._take_places():
            began = time.perf_counter()
            counted = self._counted_s()
            try:
                self._step()
            except EngineBrokenError as error:
                self._on_broken(error)
                return
            self._flush()
            self._stats.rest_s += time.perf_counter() - began - (self._counted_s() - counted)
            if self._threads is not None:
                self._threads.after_step(time.perf_counter() - began)
            self._send_stats()
            if self._stats.steps >= self._parking_due:
                self._parking_due = self._stats.steps + STEPS_BETWEEN_PARKING
                self._kv.park_idle()
            if self._saver is not None:
                self._saver.look(busy=bool(self._batcher.places or self._queue))

    def _counted_s(self) -> float:
        stats = self._stats
        stats.draft_s = self._draft.seconds if self._draft is not None else 0.0
        return stats.decode_s + stats.sample_s + stats.draft_s

    def _step(self) -> None:
        for said in (self._embedder.step(), self._scorer.step()):
            if said is not None:
                job, message = said
                self._batcher.out.append(message)
                if not isinstance(message, Progress):
                    self._batcher.ended.append(job.number)
        try:
            self._batcher.drop_cancelled()
            self._flush()  # not after the step: their places are free now
            self._batcher.step()
        except EngineBrokenError:
            raise
        except Exception as error:  # noqa: BLE001 - it ends those that run; the engine goes on
            sys.stderr.write(f"a step failed: {type(error).__name__}\n")
            try:
                self._batcher.fail_all(error)
            except Exception as second:
                raise EngineBrokenError(f"after {type(error).__name__}: {type(second).__name__}") from second

    @property
    def _aside(self) -> bool:
        """Whether there is work in the contexts apart from that of the answers."""
        return bool(self._embedder or self._scorer)

    def _take_places(self) -> bool:
        """Wait for work, and give free places to those whose turn it is; False when the engine is closed."""
        expired: list[JobState] = []
        if self._rest() and self._threads is not None:
            self._threads.before_burst()
        with self._wakeup:
            if self._closed:
                return False
            if self._queue:
                expired = self._queue.expired(time.perf_counter())
                held = self._batcher.held_by()
                while self._batcher.places < self._slots and (job := self._queue.take(held)) is not None:
                    held[job.client] += 1
                    job.running = True
                    self._batcher.waiting.append(job)
            for job in expired:
                del self._jobs[job.number]
            self._stats.waiting = len(self._queue)
        for job in expired:
            job.release()
            self._batcher.out.append(
                Failed(job.number, "expired", f"its turn did not come within {job.request.deadline_s:g} s")
            )
        return True

    def _rest(self) -> bool:
        """Wait for work, and tidy the cache up meanwhile; whether there was a rest at all."""
        rested = False
        wait_s = PARK_AFTER_S
        while True:
            parks = self._kv.parks_later
            with self._wakeup:
                if self._queue or self._batcher.places or self._aside or self._closed:
                    return rested
                rested = True
                self._embedder.rest()
                self._scorer.rest()
                woken = self._wakeup.wait(wait_s if parks else None)
            if not woken:
                # The next answers find the cache empty, and their steps are short.
                self._kv.park_idle()
                self._stats_due = 0.0
                self._send_stats()
                wait_s = PAUSE_BETWEEN_PARKING_S

    def _flush(self) -> None:
        """Pass on what the step brought."""
        batcher = self._batcher
        if batcher.ended:
            with self._wakeup:
                for number in batcher.ended:
                    del self._jobs[number]
            batcher.ended.clear()
        if batcher.out:
            messages, batcher.out = batcher.out, []
            self._emit(messages)

    def _send_stats(self) -> None:
        """Tell the counters once a second, and when the engine comes to rest."""
        now = time.perf_counter()
        if now < self._stats_due and (self._batcher.places or self._queue or self._aside):
            return
        self._stats_due = now + STATS_INTERVAL_S
        stats = self._stats
        stats.active = len(self._batcher.active)
        stats.kv_used = self._kv.used
        stats.cached_prefixes = self._kv.cached_prefixes
        stats.parked_tokens = self._kv.parked_tokens
        stats.evicted_tokens = self._kv.evicted
        if self._threads is not None:
            stats.threads, stats.thread_changes = self._threads.threads, self._threads.changes
            stats.others_cores, stats.celsius = self._threads.others_cores, self._threads.celsius
        self._emit([Stats(stats)])
