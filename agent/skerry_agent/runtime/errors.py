"""What can go wrong between a request and a loaded model."""

from skerry_agent.errors import UsageError, WorldError


class InvalidRequestError(UsageError):
    """The request cannot be run as it is: the message names the field, the value and what is allowed."""


class PromptTooLongError(InvalidRequestError):
    """The prompt leaves no room in the context for even one token of an answer."""

    def __init__(self, prompt_tokens: int, context_tokens: int) -> None:
        """Build the error from both numbers, in tokens."""
        super().__init__(
            f"the prompt has {prompt_tokens} tokens, but the context holds {context_tokens} with the answer:"
            " shorten the prompt, or raise runtime.context_tokens (num_ctx of a request can only lower it)"
        )
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class NoChatTemplateError(InvalidRequestError):
    """The model file carries no chat template (a base model): it can only complete text."""

    def __init__(self, message: str = "this model has no chat template; use completions") -> None:
        """Build the error; every caller uses the one message."""
        super().__init__(message)


class QueueFullError(WorldError):
    """More requests wait already than ``max_queue`` allows."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        """Build the error; ``retry_after_s`` is an estimate in seconds, at least 1."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ModelUnavailableError(WorldError):
    """The model cannot answer now: no file, no runner, being drained, or shut down."""


class ModelLoadError(ModelUnavailableError):
    """The model file was refused, could not be loaded, or did not load in time."""


class NotEnoughMemoryError(ModelUnavailableError):
    """The model does not fit into memory, whatever else is unloaded; the message has the numbers.

    Attributes:
        need_bytes: What it needs.
        available_bytes: What it could have.
    """

    def __init__(self, message: str, *, need_bytes: int, available_bytes: int) -> None:
        """Build the error from both numbers, in bytes."""
        super().__init__(message)
        self.need_bytes = need_bytes
        self.available_bytes = available_bytes


class ModelOutOfServiceError(ModelUnavailableError):
    """The runner crashed too often in a short time; it is not tried again before ``retry_after_s``."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        """Build the error; ``retry_after_s`` is the time in seconds until the next try is allowed."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RunnerCrashedError(ModelUnavailableError):
    """The runner process ended under a request.

    Attributes:
        exit_code: As ``Process.returncode`` gives it: negative is a signal, None is unknown.
        stderr_tail: The last lines that the process wrote to stderr; no prompts, no answers.
        started: Whether it had begun this request; one that still waited can be asked again without harm
            (``second_try``).
    """

    def __init__(self, message: str, *, exit_code: int | None = None, stderr_tail: str = "") -> None:
        """Build the error; the message names signal or exit code."""
        super().__init__(message)
        self.exit_code = exit_code
        self.stderr_tail = stderr_tail
        self.started = True


class GenerationFailedError(WorldError):
    """The engine could not go on with this request; the runner lives, other requests are not hurt."""
