from collections.abc import Iterator

import pytest

from skerry_controller.errors import PeerError
from skerry_controller.workshop.importing.sources import S3Source
from skerry_controller.workshop.library import Library
from support.importing import fetch
from support.s3_store import KEY_ID, SECRET, S3Store
from support.web_files import serving


@pytest.fixture
def store(model_bytes: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    with serving(S3Store(region="eu-north-1")) as store:
        store.files["/models/slm v1/tiny+F16.gguf"] = model_bytes
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
        monkeypatch.setenv("AWS_REGION", "eu-north-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
        yield store


KEY = "s3://models/slm v1/tiny+F16.gguf"


def test_an_object_comes_with_a_signed_request(store: S3Store, library: Library, model_bytes: bytes) -> None:
    entry = fetch(library, KEY)
    assert entry.origin.kind == "s3"
    assert entry.origin.address == S3Source("models", "slm v1/tiny+F16.gguf").address
    assert library.path(entry).read_bytes() == model_bytes


def test_each_request_of_a_broken_download_is_signed_anew(store: S3Store, library: Library) -> None:
    store.faults.cut_after = [98_304]
    fetch(library, KEY)
    assert [headers.get("Range") for _, _, headers in store.asked] == [None, "bytes=98304-"]


@pytest.mark.parametrize("checksums", [True, False])
def test_damaged_objects_are_refused_by_checksum_or_by_md5(
    store: S3Store, library: Library, checksums: bool
) -> None:
    store.checksums = checksums
    store.faults.damage = True
    with pytest.raises(PeerError, match="sha256" if checksums else "md5"):
        fetch(library, KEY)


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "other", "InvalidAccessKeyId"),
        ("AWS_REGION", "us-east-1", "AuthorizationHeaderMalformed"),
        ("AWS_ACCESS_KEY_ID", "", "AccessDenied"),
    ],
)
def test_wrong_credentials_are_said_with_the_stores_reason(
    store: S3Store, library: Library, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, code: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(PeerError, match=rf"403 .*\({code}\).*check bucket and key"):
        fetch(library, KEY)


def test_a_missing_object_is_said(store: S3Store, library: Library) -> None:
    with pytest.raises(PeerError, match="NoSuchKey"):
        fetch(library, "s3://models/other.gguf")
