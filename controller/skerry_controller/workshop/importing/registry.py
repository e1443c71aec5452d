"""Models in a container registry: OCI artifacts, and what Ollama keeps in its own registry.

Sources: the OCI distribution and image specifications; Docker's token authentication; Ollama's media types as
``ollama pull`` meets them. Every blob is named by its SHA-256, which the download checks.
"""

import base64
import hashlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec

from skerry_controller.errors import NotFoundError, PeerError
from skerry_controller.workshop.importing.errors import GatedError
from skerry_controller.workshop.importing.licences import licence_of_text
from skerry_controller.workshop.importing.naming import stem_of
from skerry_controller.workshop.importing.offer import Digest, Headers, Offer, RemoteFile
from skerry_controller.workshop.importing.shards import whole_sets
from skerry_controller.workshop.importing.sources import RegistrySource
from skerry_controller.workshop.importing.web import (
    FORBIDDEN,
    NOT_FOUND,
    UNAUTHORIZED,
    RefusedError,
    Web,
    is_loopback,
)
from skerry_controller.workshop.library import Licence
from skerry_controller.workshop.library.errors import DigestMismatchError

_ACCEPTED: Final = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
)
_TITLE: Final = ("org.opencontainers.image.title", "org.cncf.model.filepath")
_LICENCE: Final = "org.opencontainers.image.licenses"
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')
_TOKEN_LIFE_S: Final = 60.0
"""The least that Docker's rules promise when a token does not say."""
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")


class Descriptor(msgspec.Struct, rename="camel"):
    """A blob as a manifest names it."""

    digest: str
    size: int
    media_type: str = ""
    annotations: dict[str, str] | None = None

    @property
    def title(self) -> str | None:
        """The file's name, where one is given."""
        return next((self.annotations[key] for key in _TITLE if key in (self.annotations or {})), None)  # type: ignore[index]  # none of the keys is in nothing


class Manifest(msgspec.Struct, rename="camel"):
    """Of an image or artifact; or an index, which lists others."""

    layers: list[Descriptor] = []
    manifests: list[Descriptor] = []
    annotations: dict[str, str] | None = None


class _Token(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    expires_in: float = _TOKEN_LIFE_S


class Registry:
    """One repository of a registry.

    Args:
        web: Makes the requests.
        source: What is wanted of it.
        docker_config: Docker's file with credentials, as ``docker login`` leaves it.
    """

    def __init__(self, web: Web, source: RegistrySource, docker_config: Path | None = None) -> None:
        self._web = web
        self._source = source
        self._docker_config = docker_config
        host = source.registry.rpartition("@")[2]
        scheme = "http" if is_loopback(urlsplit(f"//{host}").hostname or "") else "https"
        self._base = f"{scheme}://{source.registry}/v2/{source.repository}"
        self._authorization: str | None = None
        self._valid_until = 0.0
        self._challenge: str | None = None

    def offer(self) -> Offer:
        """The model files of the manifest, with what it says of their licence.

        Raises:
            NotFoundError: There is no such name or tag.
            GatedError: The registry wants credentials.
            PeerError: What it serves is no model, or not what its digest says.
            WorldError: It is out of reach.
        """
        manifest, digest = self._manifest(self._source.reference)
        layers = _model_layers(manifest.layers, self._source)
        files = tuple(self._file(layer, position, len(layers)) for position, layer in enumerate(layers))
        last = self._source.repository.rpartition("/")[2]
        stem = stem_of(layers[0].title) if layers[0].title and not self._source.ollama else last
        return Offer(
            files=files,
            stem=stem,
            revision=digest,
            licence=self._licence(manifest),
            hints=(self._source.repository, *(layer.title for layer in layers if layer.title)),
            notes=_notes(manifest.layers),
        )

    def _manifest(self, reference: str) -> tuple[Manifest, str]:
        content, headers = self._document(f"{self._base}/manifests/{reference}", {"Accept": _ACCEPTED})
        found = f"sha256:{hashlib.sha256(content).hexdigest()}"
        named = reference if _DIGEST.fullmatch(reference) else headers.get("Docker-Content-Digest", found)
        if named != found:
            raise DigestMismatchError(f"the manifest of {self._source.address} is {found}, not {named}")
        try:
            manifest = msgspec.json.decode(content, type=Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PeerError(f"{self._source.address} has a manifest that nobody can read: {error}") from error
        if manifest.manifests and not manifest.layers:
            if len(manifest.manifests) > 1:
                names = ", ".join(each.digest for each in manifest.manifests[:4])
                place = f"oci:{self._source.registry}/{self._source.repository}@"
                raise PeerError(
                    f"{self._source.address} is an index of {len(manifest.manifests)}: choose one by its "
                    f"digest, {place}DIGEST, of {names}"
                )
            return self._manifest(manifest.manifests[0].digest)
        return manifest, found

    def _file(self, layer: Descriptor, position: int, count: int) -> RemoteFile:
        match = _DIGEST.fullmatch(layer.digest)
        if match is None:
            raise PeerError(f"{self._source.address} names a file by {layer.digest!r}, which is no SHA-256")
        title = PurePosixPath(layer.title or "").name.lstrip(".")
        name = title if title and count > 1 else f"{position}-{match[1][:12]}.gguf"
        return RemoteFile(
            name=name,
            url=f"{self._base}/blobs/{layer.digest}",
            length=layer.size,
            digest=Digest("sha256", match[1]),
            headers=self._authorized,
        )

    def _licence(self, manifest: Manifest) -> Licence | None:
        stated = (manifest.annotations or {}).get(_LICENCE)
        if stated:
            return Licence(id=stated, source="registry")
        for layer in manifest.layers:
            if layer.media_type.endswith((".license", ".license+text")) or "license" in layer.media_type:
                content, _ = self._document(f"{self._base}/blobs/{layer.digest}", {})
                if f"sha256:{hashlib.sha256(content).hexdigest()}" != layer.digest:
                    raise DigestMismatchError(f"the licence of {self._source.address} is not {layer.digest}")
                text = content.decode(errors="replace")
                return Licence(id=licence_of_text(text), source="registry")
        return None

    def _document(self, url: str, extra: Headers) -> tuple[bytes, Headers]:
        try:
            return self._web.document(url, self._authorized(url, extra))
        except RefusedError as error:
            if error.status != UNAUTHORIZED or self._authorization is not None:
                raise self._explained(error) from error
            self._challenge = _header(error.headers, "WWW-Authenticate")
        try:
            return self._web.document(url, self._authorized(url, extra))
        except RefusedError as error:
            raise self._explained(error) from error

    def _explained(self, error: RefusedError) -> Exception:
        if error.status == NOT_FOUND:
            return NotFoundError(
                f"{self._source.registry} has no {self._source.repository} with the tag "
                f"{self._source.reference}: check the spelling"
            )
        if error.status in (UNAUTHORIZED, FORBIDDEN):
            return GatedError(
                f"{self._source.registry} lets nobody read {self._source.repository} without credentials "
                f"(or has no such repository): 'docker login {self._source.registry}' leaves some here"
            )
        return error

    def _authorized(self, url: str, extra: Headers) -> Headers:
        del url
        if self._challenge is not None and time.monotonic() >= self._valid_until:
            self._authorize(self._challenge)
        return {**extra, "Authorization": self._authorization} if self._authorization else extra

    def _authorize(self, challenge: str) -> None:
        """Do what the registry's challenge asks for."""
        basic = _stored_login(self._docker_config, self._source.registry)
        if challenge.lower().startswith("basic"):
            self._authorization, self._valid_until = basic, float("inf")
            return
        asked = dict(_CHALLENGE.findall(challenge))
        realm = asked.get("realm", "")
        if urlsplit(realm).scheme not in ("http", "https"):
            raise PeerError(f"{self._source.registry} asks for credentials in a way that is not known here")
        scope = asked.get("scope") or f"repository:{self._source.repository}:pull"
        query = urlencode({"service": asked.get("service", self._source.registry), "scope": scope})
        try:
            content, _ = self._web.document(f"{realm}?{query}", {"Authorization": basic} if basic else {})
            token = msgspec.json.decode(content, type=_Token)
        except RefusedError as error:
            raise self._explained(error) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PeerError(f"{urlsplit(realm).hostname} gives no token that can be read: {error}") from error
        self._authorization = f"Bearer {token.token or token.access_token or ''}"
        self._valid_until = time.monotonic() + token.expires_in / 2


def _model_layers(layers: Sequence[Descriptor], source: RegistrySource) -> list[Descriptor]:
    found = [layer for layer in layers if _is_model(layer)]
    if not found:
        kinds = ", ".join(sorted({layer.media_type or "no type" for layer in layers})) or "nothing"
        raise PeerError(f"{source.address} holds no GGUF model but {kinds}")
    sets = whole_sets(found, lambda layer: PurePosixPath(layer.title or layer.digest).name)
    if len(sets) > 1:
        names = ", ".join(each[0].title or each[0].digest for each in sets[:8])
        raise PeerError(f"{source.address} holds {len(sets)} models, not one: {names}")
    return sets[0]


def _is_model(layer: Descriptor) -> bool:
    kind = layer.media_type.lower()
    if "tar" in kind or "gzip" in kind:
        return False
    named = (layer.title or "").lower().endswith(".gguf")
    return named or kind == "application/vnd.ollama.image.model" or "gguf" in kind


def _notes(layers: Sequence[Descriptor]) -> tuple[str, ...]:
    left_out = [kind for kind in ("projector", "adapter") if any(kind in each.media_type for each in layers)]
    return tuple(f"the source has a {kind} beside the model, which was left out" for kind in left_out)


def docker_config_path() -> Path:
    """Where ``docker login`` keeps credentials."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def _stored_login(config: Path | None, registry: str) -> str | None:
    """The header for a registry that a person logged in to; helpers of Docker's are not asked."""
    try:
        content = (config or docker_config_path()).read_bytes()
        auths = msgspec.json.decode(content).get("auths", {})
        encoded = auths[registry]["auth"]
        base64.b64decode(encoded, validate=True)
    except (
        OSError,
        msgspec.DecodeError,
        UnicodeDecodeError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ):
        return None
    return f"Basic {encoded}"


def _header(headers: Headers, name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name.lower()), "")
