"""From a runner's messages to what the callers of the runtime see."""

from skerry_agent.runtime.errors import (
    GenerationFailedError,
    InvalidRequestError,
    NoChatTemplateError,
    PromptTooLongError,
    QueueFullError,
)
from skerry_agent.runtime.model import ModelInfo
from skerry_agent.runtime.wire import Failed, Ready


def model_info(ready: Ready, *, load_ms: float) -> ModelInfo:
    """What the runner learned from the model."""
    return ModelInfo(
        architecture=ready.architecture,
        description=ready.description,
        parameters=ready.parameters,
        model_bytes=ready.model_bytes,
        vocabulary=ready.vocabulary,
        context_tokens=ready.context_tokens,
        train_context_tokens=ready.train_context_tokens,
        has_chat_template=ready.has_chat_template,
        load_ms=load_ms,
    )


def request_error(
    failed: Failed, *, retry_after_s: float
) -> InvalidRequestError | GenerationFailedError | QueueFullError:
    """The typed error of a request that could not be run."""
    if failed.code == "expired":
        message = f"the model is busy: {failed.message}; try again later"
        return QueueFullError(message, retry_after_s=retry_after_s)
    if failed.code == "prompt_too_long":
        return PromptTooLongError(failed.prompt_tokens, failed.context_tokens)
    if failed.code == "no_chat_template":
        return NoChatTemplateError(failed.message)
    if failed.code == "invalid_request":
        return InvalidRequestError(failed.message)
    return GenerationFailedError(failed.message)
