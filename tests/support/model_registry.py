"""A registry that speaks the OCI distribution API as far as a pull needs it, and Ollama's media types.

With ``password`` it gives bytes only to who fetched a token for them (Docker's token authentication).
"""

import base64
import hashlib
import json
import re
from typing import Any

from support.web_files import FileHandler, FileServer

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OLLAMA_MODEL = "application/vnd.ollama.image.model"
OLLAMA_LICENCE = "application/vnd.ollama.image.license"
DOCKER_GGUF = "application/vnd.docker.ai.gguf.v3"
USER = "operator"
_TOKEN = "short-lived"  # noqa: S105 - of a test
_PATH = re.compile(r"/v2/(.+)/(manifests|blobs)/([^/]+)")


class ModelRegistry(FileServer):
    """The registry.

    Attributes:
        manifests: By repository and tag or digest: media type and content.
        blobs: By digest.
        password: Of :data:`USER`; None lets everybody in.
    """

    def __init__(self, *, password: str | None = None) -> None:
        super().__init__(_RegistryHandler)
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.password = password

    def push(
        self,
        repository: str,
        tag: str,
        layers: list[tuple[str, bytes, dict[str, str]]],
        *,
        media_type: str = OCI_MANIFEST,
        annotations: dict[str, str] | None = None,
    ) -> str:
        """Store an image of these layers (media type, content, annotations); returns its digest."""
        described = []
        for kind, content, notes in layers:
            digest = digest_of(content)
            self.blobs[digest] = content
            layer: dict[str, Any] = {"mediaType": kind, "digest": digest, "size": len(content)}
            described.append(layer | ({"annotations": notes} if notes else {}))
        config = b"{}"
        self.blobs[digest_of(config)] = config
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {"mediaType": "application/json", "digest": digest_of(config), "size": 2},
            "layers": described,
        } | ({"annotations": annotations} if annotations else {})
        return self.put_manifest(repository, tag, manifest, media_type)

    def put_manifest(self, repository: str, tag: str, manifest: dict[str, Any], media_type: str) -> str:
        """Store a manifest or an index as it is; returns its digest."""
        content = json.dumps(manifest).encode()
        for reference in (tag, digest_of(content)):
            self.manifests[repository, reference] = (media_type, content)
        return digest_of(content)


def digest_of(content: bytes) -> str:
    """As registries name content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class _RegistryHandler(FileHandler):
    server: ModelRegistry

    def answer(self) -> None:
        if self.path.startswith("/token?"):
            self._give_token()
            return
        match = _PATH.fullmatch(self.path)
        if match is None:
            self._not_found("NAME_UNKNOWN")
        elif not self._let_in():
            realm = f'Bearer realm="{self.server.url}/token",service="test"'
            scope = f',scope="repository:{match[1]}:pull"'
            self.refuse(401, {"WWW-Authenticate": realm + scope})
        elif match[2] == "manifests":
            self._give_manifest(match[1], match[3])
        elif match[3] in self.server.blobs:
            self.send_file(self.server.blobs[match[3]], {"Docker-Content-Digest": match[3]})
        else:
            self._not_found("BLOB_UNKNOWN")

    def _let_in(self) -> bool:
        return self.server.password is None or self.headers.get("Authorization") == f"Bearer {_TOKEN}"

    def _give_token(self) -> None:
        wanted = base64.b64encode(f"{USER}:{self.server.password}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {wanted}":
            self.refuse(401)
            return
        self.refuse(200, {"Content-Type": "application/json"}, json.dumps({"token": _TOKEN}).encode())

    def _give_manifest(self, repository: str, reference: str) -> None:
        stored = self.server.manifests.get((repository, reference))
        if stored is None:
            self._not_found("MANIFEST_UNKNOWN")
            return
        media_type, content = stored
        named = reference if reference.startswith("sha256:") else digest_of(content)
        self.refuse(200, {"Content-Type": media_type, "Docker-Content-Digest": named}, content)

    def _not_found(self, code: str) -> None:
        self.refuse(404, {}, json.dumps({"errors": [{"code": code}]}).encode())
