"""Request bodies as values."""

from typing import TypeVar

import msgspec

from skerry_agent.api.errors import BadRequestError

T = TypeVar("T", bound=msgspec.Struct)


def decode_body(body: bytes, kind: type[T]) -> T:
    """Decode a request body; fields that the Struct does not have are ignored.

    Raises:
        BadRequestError: It is not JSON, or a field has the wrong type; names the field.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise BadRequestError(f"request body: {error}", _field(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(f"request body: this is no JSON in valid UTF-8 ({error})") from error


def _field(message: str) -> str | None:
    """The field that msgspec's message names: "… - at `$.stop[0]`" is about ``stop``."""
    _, found, path = message.rpartition("at `$.")
    if not found:
        return None
    return path.partition("`")[0].partition(".")[0].partition("[")[0] or None
