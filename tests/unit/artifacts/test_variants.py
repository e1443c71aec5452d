from pathlib import Path

import msgspec
import pytest

from skerry_controller.artifacts.building import BuiltArtifact, build_model
from skerry_controller.artifacts.checking import describe_target
from skerry_controller.artifacts.variants import (
    VariantFile,
    check_variants,
    parse_entry_variant,
    parse_variant,
)
from skerry_controller.errors import UsageError
from skerry_protocol.acceptance import Acceptance
from skerry_protocol.errors import MalformedError
from skerry_protocol.manifest import Manifest, decode_manifest, encode_manifest
from skerry_protocol.names import ArtifactRef
from support.publishing import tiny_model
from support.tiny_gguf import write_tiny_gguf

REF = ArtifactRef("tiny", "1")
ARM = {"arch": "aarch64", "cpu.asimddp": "yes"}
X86 = {"arch": "x86_64"}


def two(folder: Path, acceptance: Acceptance | None = None) -> BuiltArtifact:
    small = write_tiny_gguf(folder / "small.gguf", quantization="Q8_0")
    return build_model(
        REF, tiny_model(folder), before=[VariantFile("arch=aarch64", small, acceptance)]
    )  # fmt: skip


def test_each_device_finds_its_file_and_what_is_said_of_it(tmp_path: Path) -> None:
    manifest = decode_manifest(two(tmp_path, Acceptance(min_tokens_per_s=9.0)).content)
    arm, other = manifest.variant_for(ARM), manifest.variant_for(X86)
    assert arm is not None
    assert other is not None
    assert arm.files[0].length < other.files[0].length
    narrowed = manifest.narrowed(arm)
    assert narrowed.description["quantization"] == "Q8_0"
    assert narrowed.description["architecture"] == "llama"
    assert narrowed.acceptance.min_tokens_per_s == 9.0
    assert narrowed.memory_bytes is not None
    assert manifest.memory_bytes is not None
    assert narrowed.memory_bytes < manifest.memory_bytes
    assert manifest.narrowed(other).acceptance == Acceptance()


def test_a_version_without_differing_variants_stays_in_the_old_format(tmp_path: Path) -> None:
    assert decode_manifest(build_model(REF, tiny_model(tmp_path)).content).v == 1
    assert decode_manifest(two(tmp_path).content).v == 3


def test_a_manifest_of_an_older_format_cannot_have_variants_that_differ(tmp_path: Path) -> None:
    manifest = decode_manifest(two(tmp_path).content)
    with pytest.raises(MalformedError, match="version 3 can"):
        decode_manifest(msgspec.json.encode(msgspec.structs.replace(manifest, v=2)))


def test_the_acceptance_of_a_variant_is_checked_too(tmp_path: Path) -> None:
    manifest = decode_manifest(two(tmp_path, Acceptance(min_tokens_per_s=9.0)).content)
    content = encode_manifest(manifest).replace(b'"min_tokens_per_s":9.0', b'"min_tokens_per_s":-9.0')
    with pytest.raises(MalformedError, match="min_tokens_per_s must be above 0"):
        decode_manifest(content)


def test_the_controller_keeps_the_files_in_their_order(tmp_path: Path) -> None:
    built = two(tmp_path)
    row = describe_target(built.target_path, built.content)
    assert [file.selector for file in row.files] == ["arch=aarch64", ""]
    assert row.files[0].sha256 == built.further[0].sha256
    assert (row.files[1].sha256, row.file_sha256) == (built.file_sha256, built.file_sha256)


def test_licences_that_differ_are_not_mixed(tmp_path: Path) -> None:
    other = write_tiny_gguf(tmp_path / "other.gguf", overrides={"general.license": "mit"})
    before = [VariantFile("arch=aarch64", other)]
    with pytest.raises(UsageError, match=r"Apache-2\.0, MIT"):
        build_model(REF, tiny_model(tmp_path), before=before)
    manifest = decode_manifest(
        build_model(REF, tiny_model(tmp_path), before=before, license_id="MIT").content
    )
    assert manifest.license == "MIT"


@pytest.mark.parametrize(
    ("text", "selector", "file"),
    [
        ("arch=aarch64=arm.gguf", "arch=aarch64", "arm.gguf"),
        ("arch=aarch64,cpu.asimddp=yes=a=b.gguf", "arch=aarch64,cpu.asimddp=yes", "a=b.gguf"),
        ("site!=lab=/models/x.gguf", "site!=lab", "/models/x.gguf"),
    ],
)
def test_a_variant_is_written_as_selector_and_file(text: str, selector: str, file: str) -> None:
    assert parse_variant(text) == VariantFile(selector, Path(file))


@pytest.mark.parametrize("text", ["", "=x.gguf", "arch", "arch=x86_64", "arch=x86_64=", "a b=c=d"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write SELECTOR=FILE"):
        parse_variant(text)


def test_a_variant_of_the_workshop_names_a_model() -> None:
    assert parse_entry_variant("arch=aarch64:small@1") == ("arch=aarch64", "small@1")
    with pytest.raises(UsageError, match="write SELECTOR:NAME@VERSION"):
        parse_entry_variant("small@1")


def test_a_variant_that_no_device_would_get_is_refused() -> None:
    check_variants(["arch=aarch64,site=lab", "arch=aarch64", ""])
    with pytest.raises(UsageError, match="'arch=aarch64' stands before it"):
        check_variants(["arch=aarch64", "site=lab,arch=aarch64"])
    with pytest.raises(UsageError, match="16 are the most"):
        check_variants([f"site=s{number}" for number in range(17)])


def test_a_manifest_with_too_many_variants_is_refused(tmp_path: Path) -> None:
    manifest: Manifest = decode_manifest(build_model(REF, tiny_model(tmp_path)).content)
    with pytest.raises(MalformedError, match="17 variants, 16 allowed"):
        decode_manifest(encode_manifest(msgspec.structs.replace(manifest, variants=manifest.variants * 17)))
