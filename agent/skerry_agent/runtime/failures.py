"""What a request is told when something goes wrong inside the runner."""

import sys

from skerry_agent.runtime.chat_template import TemplateBrokenError, TemplateRefusedError
from skerry_agent.runtime.engine_ports import AdapterUnusableError
from skerry_agent.runtime.errors import InvalidRequestError, NoChatTemplateError, PromptTooLongError
from skerry_agent.runtime.wire import Failed


def failure(number: int, error: Exception) -> Failed:
    """The last message of a request that ended with this error."""
    if isinstance(error, PromptTooLongError):
        return Failed(number, "prompt_too_long", str(error), error.prompt_tokens, error.context_tokens)
    if isinstance(error, NoChatTemplateError | TemplateBrokenError):
        return Failed(number, "no_chat_template", str(error))
    if isinstance(error, TemplateRefusedError | InvalidRequestError):
        return Failed(number, "invalid_request", str(error))
    if isinstance(error, AdapterUnusableError):
        return Failed(number, "failed", str(error))
    # Only the type: the text of an error may quote the prompt.
    name = type(error).__name__
    sys.stderr.write(f"job {number} failed: {name}\n")
    return Failed(number, "failed", f"the engine failed at this request ({name})")
