from datetime import UTC, datetime

import pytest

from skerry_controller.errors import UsageError
from skerry_controller.workshop.importing.s3 import S3Access, object_url, sign_get
from skerry_controller.workshop.importing.stated_digest import stated_digest

AWS_EXAMPLE = S3Access(
    endpoint=None,
    region="us-east-1",
    key_id="AKIAIOSFODNN7EXAMPLE",
    secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",  # noqa: S106 - AWS's own example
    session_token=None,
)


def test_the_signature_is_that_of_the_example_in_the_specification() -> None:
    headers = sign_get(
        "https://examplebucket.s3.amazonaws.com/test.txt",
        {"range": "bytes=0-9"},
        AWS_EXAMPLE,
        datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert headers["Authorization"].endswith(
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_without_a_key_nothing_is_signed() -> None:
    access = S3Access.of({})
    assert sign_get("https://x/y", {"Range": "bytes=1-"}, access, datetime.now(UTC)) == {"Range": "bytes=1-"}


def test_temporary_credentials_send_their_token() -> None:
    access = S3Access.of(
        {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c", "AWS_REGION": "eu"}
    )
    headers = sign_get("https://x/y", {}, access, datetime.now(UTC))
    assert headers["x-amz-security-token"] == "c"
    assert "/eu/s3/" in headers["Authorization"]


def test_half_of_the_credentials_is_refused() -> None:
    with pytest.raises(UsageError, match="set both or none"):
        S3Access.of({"AWS_ACCESS_KEY_ID": "a"})


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "https://models.s3.us-east-1.amazonaws.com/a%20b/m.gguf"),
        ({"AWS_ENDPOINT_URL": "http://minio:9000/"}, "http://minio:9000/models/a%20b/m.gguf"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "https://models.s3.eu-west-1.amazonaws.com/a%20b/m.gguf"),
    ],
)
def test_objects_are_where_the_endpoint_wants_them(environment: dict[str, str], url: str) -> None:
    assert object_url("models", "a b/m.gguf", S3Access.of(environment)) == url


EMPTY = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
EMPTY_HEX = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("headers", "digest"),
    [
        ({}, None),
        ({"Repr-Digest": f"sha-256=:{EMPTY}:"}, f"sha256:{EMPTY_HEX}"),
        ({"Digest": f"SHA-256={EMPTY}"}, f"sha256:{EMPTY_HEX}"),
        ({"x-amz-checksum-sha256": EMPTY}, f"sha256:{EMPTY_HEX}"),
        ({"x-amz-checksum-sha256": f"{EMPTY}-3"}, None),
        ({"Repr-Digest": "sha-256=:AAAA:"}, None),
        ({"ETag": f'"{"a" * 32}"'}, None),
        ({"ETag": f'"{"a" * 32}"', "x-amz-request-id": "1"}, f"md5:{'a' * 32}"),
        ({"ETag": f'"{"a" * 32}-3"', "x-amz-request-id": "1"}, None),
    ],
)
def test_digests_are_taken_from_headers_that_mean_the_whole_file(
    headers: dict[str, str], digest: str | None
) -> None:
    found = stated_digest(headers)
    assert (None if found is None else str(found)) == digest
