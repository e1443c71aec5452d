"""``fleet/trust.json``: whom a device believes and where it finds them.

Signed by the offline top-level targets key, so directors, authorities and addresses can change,
and only so.
"""

from urllib.parse import urlsplit

from skerry_protocol.codec import Document, Part, decode, encode
from skerry_protocol.errors import MalformedError, NameSyntaxError
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.numbers import Whole
from skerry_protocol.signing import KeySet, load_public
from skerry_protocol.topics import DEFAULT_ROOT, check_root


class Directors(Part, frozen=True):
    """Public keys (PEM) of directors, and how many distinct ones must sign."""

    keys: tuple[str, ...]
    threshold: int = 1


class Authorities(Part, frozen=True):
    """Certificate authorities (PEM) for servers, and for devices and other clients."""

    servers: tuple[str, ...]
    devices: tuple[str, ...]


class TrustDocument(Document, frozen=True):
    """The trust document.

    Attributes:
        fleet: The fleet's id, random, made once.
        epoch: Raised to reset generations and the bound of trusted time.
        issued_at: Unix seconds.
        controller_urls: ``https://HOST:PORT`` of the device listener.
        broker_urls: ``mqtts://HOST:PORT``, tried in order.
        topic_root: What stands before all topics.
    """

    fleet: str
    epoch: Whole
    issued_at: Whole
    directors: Directors
    authorities: Authorities
    controller_urls: tuple[str, ...]
    broker_urls: tuple[str, ...]
    topic_root: str = DEFAULT_ROOT

    def director_keys(self) -> KeySet:
        """The directors' keys with their threshold."""
        return KeySet([load_public(pem) for pem in self.directors.keys], self.directors.threshold)


class Address(Part, frozen=True):
    """A host name or IP address, and a port."""

    host: str
    port: int


def parse_url(url: str, scheme: str, default_port: int) -> Address:
    """Host and port of an address in the trust document.

    Raises:
        MalformedError: Another scheme, or no host.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or default_port
    except ValueError as error:
        raise MalformedError(f"{url!r} is not an address: {error}") from error
    if parts.scheme != scheme or not parts.hostname:
        raise MalformedError(f"{url!r} is not of the form {scheme}://HOST:PORT")
    return Address(host=parts.hostname, port=port)


def encode_trust_document(document: TrustDocument) -> bytes:
    """The document as the JSON that becomes the target."""
    return encode(document)


def decode_trust_document(data: bytes) -> TrustDocument:
    """Decode and check a trust document.

    Raises:
        ProtocolError: It is malformed, of a later version, or names unusable keys or addresses.
    """
    document = decode(data, TrustDocument, limit_bytes=DEFAULT_LIMITS.max_manifest_bytes)
    if document.epoch < 1:
        raise MalformedError("trust document: the epoch starts at 1")
    try:
        document.director_keys()
        check_root(document.topic_root)
    except (ValueError, NameSyntaxError) as error:
        raise MalformedError(f"trust document: {error}") from error
    for url in document.controller_urls:
        parse_url(url, "https", 8601)
    for url in document.broker_urls:
        parse_url(url, "mqtts", 8883)
    if not document.broker_urls or not document.authorities.servers:
        raise MalformedError("trust document: at least one broker and one server authority are needed")
    return document
