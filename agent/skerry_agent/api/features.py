"""What the engine does not honour yet: asked for, it is refused instead of being ignored."""

from skerry_agent.api.errors import BadRequestError
from skerry_agent.runtime import GenerateRequest

UNHONOURED = frozenset({"json_schema"})
UNHONOURED_SAMPLING: frozenset[str] = frozenset()

_WORDS = {"json_schema": "response_format"}
_DEFAULT = GenerateRequest()


def refuse_unhonoured(request: GenerateRequest) -> None:
    """Refuse a request for what the engine does not do.

    Raises:
        BadRequestError: Names the field.
    """
    for name in UNHONOURED:
        if getattr(request, name) != getattr(_DEFAULT, name):
            _refuse(_WORDS.get(name, name))
    for name in UNHONOURED_SAMPLING:
        if getattr(request.sampling, name) != getattr(_DEFAULT.sampling, name):
            _refuse(name)


def _refuse(name: str) -> None:
    raise BadRequestError(
        f"{name}: the engine of this version does not do this", name, "unsupported_parameter"
    )
