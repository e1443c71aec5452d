"""The parent's side of one runner process."""

import asyncio
from collections.abc import AsyncGenerator

from skerry_agent.runtime.model import ModelFile, ModelInfo
from skerry_agent.runtime.requests import GenerateEvent, GenerateRequest


class Runner:
    """One child process with one loaded model."""

    model: ModelFile
    info: ModelInfo
    pid: int
    exited: asyncio.Future[int]

    def generate(self, request: GenerateRequest) -> AsyncGenerator[GenerateEvent, None]:
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
        raise NotImplementedError
