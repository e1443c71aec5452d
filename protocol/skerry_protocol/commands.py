"""Commands of the director to one device, and the device's signed replies."""

from skerry_protocol.codec import Document, decode, encode
from skerry_protocol.errors import MalformedError
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.numbers import Whole

_MAX_ID_CHARACTERS = 64


class Command(Document, frozen=True):
    """One command.

    Attributes:
        id: Random, 1 to 64 characters; a device carries out each id once.
        issued_at: Unix seconds.
        expires_at: Unix seconds; refused after that.
        name: ``ping``, ``report`` or ``rollback``; another name gets a reply that says so.
        arguments: By name; ``rollback`` takes ``slot``.
    """

    device: str
    id: str
    issued_at: Whole
    expires_at: Whole
    name: str
    arguments: dict[str, str] = {}


class CommandReply(Document, frozen=True):
    """The answer to one command."""

    device: str
    command: str
    ok: bool
    message: str = ""
    data: dict[str, str] = {}


def encode_command(command: Command) -> bytes:
    """The command as the JSON payload of a ``command`` envelope."""
    return encode(command)


def decode_command(payload: bytes) -> Command:
    """Decode the payload of a ``command`` envelope.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    command = decode(payload, Command, limit_bytes=DEFAULT_LIMITS.max_control_bytes)
    if not 1 <= len(command.id) <= _MAX_ID_CHARACTERS:
        raise MalformedError(f"command: the id has 1 to {_MAX_ID_CHARACTERS} characters")
    return command


def encode_reply(reply: CommandReply) -> bytes:
    """The reply as the JSON payload of a ``reply`` envelope."""
    return encode(reply)


def decode_reply(payload: bytes) -> CommandReply:
    """Decode the payload of a ``reply`` envelope.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    return decode(payload, CommandReply, limit_bytes=DEFAULT_LIMITS.max_control_bytes)
