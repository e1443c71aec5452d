"""Commands of the director to one device, and the device's signed replies."""

from skerry_protocol.codec import Document, decode, encode
from skerry_protocol.limits import DEFAULT_LIMITS


class Command(Document, frozen=True):
    """One command.

    Attributes:
        id: Random; a device carries out each id once.
        issued_at: Unix seconds.
        expires_at: Unix seconds; refused after that.
        name: ``ping``, ``report`` or ``rollback``; another name gets a reply that says so.
        arguments: By name; ``rollback`` takes ``slot``.
    """

    device: str
    id: str
    issued_at: int
    expires_at: int
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
    return decode(payload, Command, limit_bytes=DEFAULT_LIMITS.max_control_bytes)


def encode_reply(reply: CommandReply) -> bytes:
    """The reply as the JSON payload of a ``reply`` envelope."""
    return encode(reply)


def decode_reply(payload: bytes) -> CommandReply:
    """Decode the payload of a ``reply`` envelope.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    return decode(payload, CommandReply, limit_bytes=DEFAULT_LIMITS.max_control_bytes)
