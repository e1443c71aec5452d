"""Where a model may come from, as a person writes it."""

import re
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import msgspec

from skerry_controller.errors import UsageError

OLLAMA_REGISTRY: Final = "registry.ollama.ai"
FORMS: Final = (
    "a file, a folder, http(s)://…, s3://BUCKET/KEY, hf:OWNER/REPO[:FILE], oci:REGISTRY/REPO:TAG or "
    "ollama:NAME[:TAG]"
)
_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_HUB: Final = re.compile(rf"({_PART}/{_PART})(?:@([A-Za-z0-9][\w./-]*))?(?::(.+))?")
_REPOSITORY: Final = re.compile(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*")
_REFERENCE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|sha256:[0-9a-f]{64}")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class LocalSource(msgspec.Struct, frozen=True):
    """A file or a folder."""

    path: Path

    @property
    def address(self) -> str:
        """As a person would write it again."""
        return str(self.path.absolute())


class HttpSource(msgspec.Struct, frozen=True):
    """A file on a web server."""

    url: str

    @property
    def address(self) -> str:
        """The URL without what may be secret: user, password, query."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class S3Source(msgspec.Struct, frozen=True):
    """An object in a bucket."""

    bucket: str
    key: str

    @property
    def address(self) -> str:
        """As a person would write it again."""
        return f"s3://{self.bucket}/{self.key}"


class HubSource(msgspec.Struct, frozen=True):
    """A repository of a model hub that speaks Hugging Face's API.

    Attributes:
        repository: ``OWNER/REPO``.
        revision: A branch, tag or commit; None for the main one.
        file: One of its files, or a quantization that tells which; None when there is but one.
    """

    repository: str
    revision: str | None = None
    file: str | None = None

    @property
    def address(self) -> str:
        """As a person would write it again."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repository}{revision}" + (f":{self.file}" if self.file else "")


class RegistrySource(msgspec.Struct, frozen=True):
    """A repository of a registry for container images, OCI's or Ollama's.

    Attributes:
        registry: Host, with its port where it has one.
        repository: Path in it.
        reference: A tag, or a digest ``sha256:…``.
        ollama: Whether a person wrote ``ollama:``.
    """

    registry: str
    repository: str
    reference: str
    ollama: bool = False

    @property
    def address(self) -> str:
        """As a person would write it again."""
        mark = "@" if self.reference.startswith("sha256:") else ":"
        if not self.ollama:
            return f"oci:{self.registry}/{self.repository}{mark}{self.reference}"
        registry = "" if self.registry == OLLAMA_REGISTRY else f"{self.registry}/"
        short = self.repository if registry else self.repository.removeprefix("library/")
        return f"ollama:{registry}{short}{mark}{self.reference}"


Source: TypeAlias = LocalSource | HttpSource | S3Source | HubSource | RegistrySource


def parse_source(text: str) -> Source:
    """Understand what a person wrote.

    Raises:
        UsageError: It is none of the forms.
    """
    scheme, colon, rest = text.partition(":")
    if colon and scheme in ("http", "https"):
        return _http(text)
    if colon and scheme == "s3":
        return _s3(rest)
    if colon and scheme == "hf":
        return _hub(rest)
    if colon and scheme == "oci":
        return _oci(rest)
    if colon and scheme == "ollama":
        return _ollama(rest)
    if not text.strip():
        raise UsageError(f"say where the model comes from: {FORMS}")
    path = Path(text).expanduser()
    if colon and not path.exists() and re.fullmatch(r"[a-z][a-z0-9+]{1,9}", scheme):
        raise UsageError(f"{text!r} is neither a file nor one of these: {FORMS}")
    return LocalSource(path)


def _http(text: str) -> HttpSource:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"{text!r} is not a URL: {error}") from error
    if not parts.hostname or not parts.path.strip("/"):
        raise UsageError(f"{text!r} names no file: give the URL of the GGUF file itself")
    return HttpSource(text)


def _s3(rest: str) -> S3Source:
    bucket, _, key = rest.removeprefix("//").partition("/")
    if not rest.startswith("//") or not _BUCKET.fullmatch(bucket) or not key or key.endswith("/"):
        raise UsageError(f"{'s3:' + rest!r} names no object: write s3://BUCKET/KEY")
    return S3Source(bucket, key)


def _hub(rest: str) -> HubSource:
    match = _HUB.fullmatch(rest)
    if match is None:
        raise UsageError(f"{'hf:' + rest!r} names no repository: write hf:OWNER/REPO or hf:OWNER/REPO:FILE")
    return HubSource(match[1], match[2], match[3])


def _oci(rest: str) -> RegistrySource:
    registry, _, name = rest.partition("/")
    repository, reference = _split_reference(name)
    if not _is_host(registry) or not repository or not reference:
        raise UsageError(f"{'oci:' + rest!r} is incomplete: write oci:REGISTRY/REPO:TAG")
    return _checked(RegistrySource(registry, repository, reference), "oci:" + rest)


def _ollama(rest: str) -> RegistrySource:
    name, reference = _split_reference(rest)
    first, slash, others = name.partition("/")
    registry, repository = (first, others) if slash and _is_host(first) else (OLLAMA_REGISTRY, name)
    if "/" not in repository:
        repository = f"library/{repository}"
    return _checked(
        RegistrySource(registry, repository, reference or "latest", ollama=True), "ollama:" + rest
    )


def _split_reference(text: str) -> tuple[str, str]:
    """Name, and tag or digest; a colon before the last slash belongs to a port."""
    if "@" in text:
        name, _, reference = text.partition("@")
        return name, reference
    head, slash, tail = text.rpartition("/")
    name, _, reference = tail.partition(":")
    return f"{head}{slash}{name}", reference


def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None and (text == "localhost" or "." in text or ":" in text)


def _checked(source: RegistrySource, text: str) -> RegistrySource:
    if not _REPOSITORY.fullmatch(source.repository) or not _REFERENCE.fullmatch(source.reference):
        raise UsageError(
            f"{text!r} is not a name in a registry: use lower-case letters, digits, '.', '_', '-'"
        )
    return source
