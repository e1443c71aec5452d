"""A config bundle: signed settings for devices, an immutable target under ``configs/``."""

from skerry_protocol.codec import Document, decode, encode
from skerry_protocol.errors import MalformedError, NameSyntaxError
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.names import ArtifactRef, check_name, check_version

Setting = str | int | float | bool | list[str]


class ConfigBundle(Document, frozen=True):
    """Settings by section and key, as they would stand in the agent's TOML file.

    The agent validates them against its own schema; sections about identity and trust are refused.
    """

    name: str
    version: str
    settings: dict[str, dict[str, Setting]]

    @property
    def ref(self) -> ArtifactRef:
        """``name@version``."""
        return ArtifactRef(self.name, self.version)


def encode_config_bundle(bundle: ConfigBundle) -> bytes:
    """The bundle as the JSON that becomes the target."""
    return encode(bundle)


def decode_config_bundle(data: bytes) -> ConfigBundle:
    """Decode and check a bundle's form; its settings are for the agent to judge.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    bundle = decode(data, ConfigBundle, limit_bytes=DEFAULT_LIMITS.max_manifest_bytes)
    try:
        check_name(bundle.name)
        check_version(bundle.version)
    except NameSyntaxError as error:
        raise MalformedError(f"config bundle: {error}") from error
    return bundle
