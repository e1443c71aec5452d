import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry_controller.errors import NotFoundError, PeerError
from skerry_controller.workshop.importing.errors import GatedError
from skerry_controller.workshop.library import Library
from skerry_controller.workshop.library.errors import DigestMismatchError
from support.importing import fetch
from support.model_registry import (
    DOCKER_GGUF,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    OLLAMA_LICENCE,
    OLLAMA_MODEL,
    USER,
    ModelRegistry,
    digest_of,
)
from support.web_files import serving

APACHE = b"\n                  Apache License\n                Version 2.0, January 2004\n"
PASSWORD = "of a test"  # noqa: S105 - it says so


@pytest.fixture
def registry(model_bytes: bytes) -> Iterator[ModelRegistry]:
    with serving(ModelRegistry()) as registry:
        layers: list[tuple[str, bytes, dict[str, str]]] = [
            (OLLAMA_MODEL, model_bytes, {}),
            (OLLAMA_LICENCE, APACHE, {}),
            ("application/vnd.ollama.image.projector", b"eyes", {}),
        ]
        registry.push("library/tiny", "latest", layers, media_type=DOCKER_MANIFEST)
        yield registry


def test_a_model_comes_from_ollamas_registry(
    registry: ModelRegistry, library: Library, model_bytes: bytes
) -> None:
    entry = fetch(library, f"ollama:{registry.address}/tiny", ref=None)
    assert str(entry.ref) == "tiny-f16@1"
    assert entry.origin.kind == "ollama"
    assert entry.origin.revision is not None
    assert (entry.licence.id, entry.licence.source) == ("apache-2.0", "registry")
    assert entry.notes == ("the source has a projector beside the model, which was left out",)
    assert library.path(entry).read_bytes() == model_bytes


def test_a_broken_blob_goes_on_where_it_was(registry: ModelRegistry, library: Library) -> None:
    registry.faults.cut_after = [len(APACHE) * 10, 98_304]  # the first one is the licence, which is shorter
    fetch(library, f"ollama:{registry.address}/tiny:latest")
    assert [headers["Range"] for _, _, headers in registry.asked if "Range" in headers] == ["bytes=98304-"]


def test_an_artifact_in_parts_comes_from_an_oci_registry(
    registry: ModelRegistry, library: Library, shard_bytes: dict[str, bytes]
) -> None:
    layers = [
        (DOCKER_GGUF, content, {"org.opencontainers.image.title": name})
        for name, content in shard_bytes.items()
    ]
    notes = {"org.opencontainers.image.licenses": "MIT"}
    inner = registry.push("slm/tiny", "v1-linux", layers, annotations=notes)
    index = {"schemaVersion": 2, "manifests": [{"mediaType": OCI_MANIFEST, "digest": inner, "size": 1}]}
    registry.put_manifest("slm/tiny", "v1", index, OCI_INDEX)
    entry = fetch(library, f"oci:{registry.address}/slm/tiny:v1", ref=None)
    assert str(entry.ref) == "tiny-f16@1"
    assert entry.licence.id == "MIT"
    assert entry.origin.revision == inner
    fetch(library, f"oci:{registry.address}/slm/tiny@{inner}", ref="by@digest")


def test_an_index_of_several_asks_which(registry: ModelRegistry, library: Library) -> None:
    several = [{"mediaType": OCI_MANIFEST, "digest": f"sha256:{n * 64}", "size": 1} for n in "ab"]
    registry.put_manifest("slm/tiny", "v1", {"schemaVersion": 2, "manifests": several}, OCI_INDEX)
    with pytest.raises(PeerError, match="choose one by its digest"):
        fetch(library, f"oci:{registry.address}/slm/tiny:v1")


def test_a_token_is_fetched_with_the_login_that_docker_kept(
    registry: ModelRegistry, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.password = PASSWORD
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    source = f"ollama:{registry.address}/tiny"
    with pytest.raises(GatedError, match=f"docker login {registry.address}"):
        fetch(library, source)
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": login}}}))
    fetch(library, source)


def test_a_name_or_tag_that_is_not_there_is_said(registry: ModelRegistry, library: Library) -> None:
    with pytest.raises(NotFoundError, match="no library/tiny with the tag 9b"):
        fetch(library, f"ollama:{registry.address}/tiny:9b")


def test_an_image_without_a_model_is_refused(registry: ModelRegistry, library: Library) -> None:
    layer = "application/vnd.oci.image.layer.v1.tar+gzip"
    registry.push("app", "v1", [(layer, b"program", {})])
    with pytest.raises(PeerError, match=r"no GGUF model but application/vnd\.oci\.image\.layer"):
        fetch(library, f"oci:{registry.address}/app:v1")


def test_what_does_not_fit_its_digest_is_refused(registry: ModelRegistry, library: Library) -> None:
    source = f"ollama:{registry.address}/tiny"
    registry.blobs[digest_of(APACHE)] = b"do what you want"
    with pytest.raises(DigestMismatchError, match="licence"):
        fetch(library, source)
    registry.blobs[digest_of(APACHE)] = APACHE
    media_type, content = registry.manifests["library/tiny", "latest"]
    registry.manifests["library/tiny", digest_of(content)] = (media_type, content + b" ")
    with pytest.raises(DigestMismatchError, match="the manifest"):
        fetch(library, f"{source}@{digest_of(content)}")
    (model,) = [digest for digest, blob in registry.blobs.items() if blob[:4] == b"GGUF"]
    registry.blobs[model] = registry.blobs[model][:-1] + b"!"
    with pytest.raises(DigestMismatchError, match="its source says"):
        fetch(library, source)
