"""Makes submitted requests ready for the engine, in a thread of its own.

To render a template and to tokenize a long prompt takes a second at worst: the answers that run must not wait
for that.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable

from skerry_agent.runtime.chat_template import TemplateBrokenError, TemplateRefusedError
from skerry_agent.runtime.engine_ports import Model
from skerry_agent.runtime.errors import InvalidRequestError, NoChatTemplateError, PromptTooLongError
from skerry_agent.runtime.job_state import JobState
from skerry_agent.runtime.json_grammar import with_grammar
from skerry_agent.runtime.prompt_reader import PromptReader
from skerry_agent.runtime.text_stream import TextStream
from skerry_agent.runtime.wire import Failed


class Intake:
    """A line of requests in the order of their arrival.

    Args:
        model: For its vocabulary and its size.
        reader: Turns requests into tokens.
        done: Takes each request when it is ready (None), or the message that ends it.
    """

    def __init__(
        self, model: Model, reader: PromptReader, done: Callable[[JobState, Failed | None], None]
    ) -> None:
        self._model = model
        self._reader = reader
        self._done = done
        self._changed = threading.Condition()
        self._line: deque[JobState] = deque()
        self._closed = False

    def put(self, job: JobState) -> None:
        """Add a request."""
        with self._changed:
            self._line.append(job)
            self._changed.notify()

    def close(self) -> None:
        """End the thread after the request that it is at."""
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
                job = self._line.popleft()
            if not job.cancelled:
                self._done(job, self._prepare(job))

    def _prepare(self, job: JobState) -> Failed | None:
        try:
            request = with_grammar(job.request)
            tokens = self._reader.tokens(request)
            room = self._room(tokens)
            job.sampler = self._model.sampler(request, tokens)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this job and not the others
            return _failure(job.number, error)
        job.tokens = tokens
        job.prompt_tokens = len(tokens)
        job.limit = min(job.request.max_tokens or room, room)
        job.stream = TextStream(job.request.stop)
        return None

    def _room(self, tokens: list[int]) -> int:
        room = self._model.context_tokens - len(tokens)
        if room < 1:
            raise PromptTooLongError(len(tokens), self._model.context_tokens)
        return room


def _failure(number: int, error: Exception) -> Failed:
    if isinstance(error, PromptTooLongError):
        return Failed(number, "prompt_too_long", str(error), error.prompt_tokens, error.context_tokens)
    if isinstance(error, NoChatTemplateError | TemplateBrokenError):
        return Failed(number, "no_chat_template", str(error))
    if isinstance(error, TemplateRefusedError | InvalidRequestError):
        return Failed(number, "invalid_request", str(error))
    # Only the type: the text of an error may quote the prompt.
    name = type(error).__name__
    sys.stderr.write(f"job {number} failed: {name}\n")
    return Failed(number, "failed", f"the engine failed at this request ({name})")
