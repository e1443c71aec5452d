"""Makes submitted requests ready for the engine, in a thread of its own.

To render a template and to tokenize a long prompt takes a second at worst: the answers that run must not wait
for that.
"""

import threading
from collections import deque
from collections.abc import Callable

from skerry_agent.runtime.embedding import EmbedJob
from skerry_agent.runtime.engine_ports import Model
from skerry_agent.runtime.errors import InvalidRequestError, PromptTooLongError
from skerry_agent.runtime.failures import failure
from skerry_agent.runtime.job_state import JobState
from skerry_agent.runtime.json_grammar import with_grammar
from skerry_agent.runtime.prompt_reader import PromptReader
from skerry_agent.runtime.scoring import ScoreJob
from skerry_agent.runtime.text_stream import TextStream
from skerry_agent.runtime.wire import Detokenize, Detokenized, Failed, Tokenize, Tokenized


class Intake:
    """A line of work in the order of its arrival."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[Callable[[], None]] = deque()
        self._closed = False

    def put(self, work: Callable[[], None]) -> None:
        """Add something to do; it may not raise."""
        with self._changed:
            self._line.append(work)
            self._changed.notify()

    def close(self) -> None:
        """End the thread after what it is at."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def run(self) -> None:
        """Work until ``close``."""
        while True:
            with self._changed:
                while not self._line and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                work = self._line.popleft()
            work()


class Preparer:
    """Turns requests into tokens.

    Args:
        model: For its vocabulary and its size.
        reader: For prompts.
    """

    def __init__(self, model: Model, reader: PromptReader) -> None:
        self._model = model
        self._reader = reader

    def generation(self, job: JobState) -> Failed | None:
        """Fill in what the engine needs; return the message that ends the request if it cannot be run."""
        try:
            request = with_grammar(job.request)
            tokens = self._reader.tokens(request)
            self._model.check_adapters(request.adapters)
            room = self._room(tokens, request.context_tokens)
            job.sampler = self._model.sampler(request, tokens)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this job and not the others
            return failure(job.number, error)
        job.tokens = tokens
        job.prompt_tokens = len(tokens)
        job.limit = min(job.request.max_tokens or room, room)
        job.stream = TextStream(job.request.stop)
        return None

    def _room(self, tokens: list[int], wanted: int | None) -> int:
        context = min(self._model.context_tokens, wanted or self._model.context_tokens)
        room = context - len(tokens)
        if room < 1:
            raise PromptTooLongError(len(tokens), context)
        return room

    def embedding(self, job: EmbedJob) -> Failed | None:
        """As ``generation``, for a request for vectors."""
        try:
            self._model.check_adapters(job.request.adapters)
            texts = [self._model.tokenize(text, add_special=True) for text in job.request.inputs]
            job.texts = [tokens or self._model.tokenize("\n", add_special=False) for tokens in texts]
        except Exception as error:  # noqa: BLE001 - the same
            return failure(job.number, error)
        return None

    def scoring(self, job: ScoreJob) -> Failed | None:
        """As ``generation``, for a text whose probability is to be found."""
        try:
            self._model.check_adapters(job.adapters)
            job.tokens = self._model.tokenize(job.text, add_special=True)
        except Exception as error:  # noqa: BLE001 - the same
            return failure(job.number, error)
        return None

    def ready(self, job: JobState | EmbedJob | ScoreJob) -> Failed | None:
        """Whatever of the three it is."""
        if isinstance(job, JobState):
            return self.generation(job)
        return self.embedding(job) if isinstance(job, EmbedJob) else self.scoring(job)

    def answer(self, question: Tokenize | Detokenize) -> Tokenized | Detokenized | Failed:
        """Answer a question about tokens."""
        number = question.job
        try:
            if isinstance(question, Tokenize):
                tokens = self._model.tokenize(question.text, add_special=question.add_special)
                return Tokenized(number, tuple(tokens))
            for token in question.tokens:
                self._check(token)
            return Detokenized(number, b"".join(map(self._model.piece, question.tokens)))
        except Exception as error:  # noqa: BLE001 - the same
            return failure(number, error)

    def _check(self, token: int) -> None:
        if not 0 <= token < self._model.vocabulary:
            raise InvalidRequestError(
                f"token {token} does not exist: this model has {self._model.vocabulary} tokens, from 0"
            )
