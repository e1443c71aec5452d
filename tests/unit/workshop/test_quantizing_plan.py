"""What a quantization will make, judged from what llama.cpp says of it."""

import msgspec
import pytest

from skerry_controller.errors import UsageError
from skerry_controller.workshop.library import Entry, Origin
from skerry_controller.workshop.naming import result_name
from skerry_controller.workshop.quantizing import TYPES, find_type
from skerry_controller.workshop.quantizing.llama_log import Fallback, TensorPlan, read_log
from skerry_controller.workshop.quantizing.plan import Plan, make_plan
from skerry_protocol.gguf_header import GgufHeader
from skerry_protocol.model_description import ModelDescription

DRY_RUN = """\
llama_model_loader: - type q4_1:  210 tensors
warning: blk.0.attn_k.weight                  - ncols    576 not divisible by 256 \
(required for type    q6_K) -> falling back to    q8_0
[   1/   4] output_norm.weight                   - [   576,      1,      1,      1], type =    f32, \
size =    0.002 MiB
[   2/   4] blk.0.attn_k.weight                  - [   576,    192,      1,      1], type =   q4_1, \
size =     0.07 MiB ->     0.11 MiB (q8_0)
[   3/   4] blk.0.ffn_down.weight                - [  1536,    576,      1,      1], type =   q4_1, \
size =     0.53 MiB ->     0.22 MiB (tq2_0)
[   4/   4] blk.0.ffn_up.weight                  - [   576,   1536,      1,      1], type =   bf16, \
size =    1.688 MiB
llama_model_quantize_impl: WARNING: dry run completed successfully, but actually completing this \
quantization will require an imatrix!
"""


def test_a_dry_run_tells_the_old_and_new_type_of_each_tensor() -> None:
    said = read_log(DRY_RUN)
    assert said.tensors == (
        TensorPlan("output_norm.weight", 576, "F32", "F32"),
        TensorPlan("blk.0.attn_k.weight", 576 * 192, "Q4_1", "Q8_0"),
        TensorPlan("blk.0.ffn_down.weight", 1536 * 576, "Q4_1", "TQ2_0"),
        TensorPlan("blk.0.ffn_up.weight", 576 * 1536, "BF16", "BF16"),
    )
    assert said.fallbacks == (Fallback("blk.0.attn_k.weight", 576, 256, "Q6_K", "Q8_0"),)
    assert said.needs_imatrix
    assert said.failure is None
    assert said.tensors[1].new_bytes == 576 * 192 // 32 * 34


def test_a_failure_is_told_in_llama_cpp_s_words() -> None:
    said = read_log("llama_model_quantize: failed to quantize: unknown model architecture: 'x'\n")
    assert said.failure == "unknown model architecture: 'x'"


@pytest.mark.parametrize(
    ("text", "name"), [("q4_0", "Q4_0"), ("Q4_K", "Q4_K_M"), ("tq2-0", "TQ2_0"), ("bf16", "BF16")]
)
def test_types_are_found_in_whatever_case(text: str, name: str) -> None:
    assert find_type(text).name == name


def test_an_unknown_type_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match=r"no quantization 'Q9_9': the types are F16, BF16, Q8_0, .*TQ1_0"):
        find_type("Q9_9")


@pytest.mark.parametrize(
    ("parent", "kind", "result"),
    [
        ("smollm2-135m-instruct", "Q4_0", "smollm2-135m-instruct-q4_0"),
        ("smollm2-135m-instruct.q4_1", "Q8_0", "smollm2-135m-instruct-q8_0"),
        ("gemma-3-270m-q4_k_m", "TQ2_0", "gemma-3-270m-tq2_0"),
        ("qwen3-0.6b-bf16", "Q5_K_M", "qwen3-0.6b-q5_k_m"),
        ("iq4", "Q4_0", "iq4-q4_0"),
        ("x-tq1_0", "F16", "x-f16"),
        ("a" * 64, "Q4_K_M", "a" * 57 + "-q4_k_m"),
    ],
)
def test_a_result_is_named_for_its_parent_and_its_type(parent: str, kind: str, result: str) -> None:
    assert result_name(parent, kind) == result


def test_each_type_can_be_taken_off_a_name_again() -> None:
    assert {result_name(result_name("m", kind.name), "F16") for kind in TYPES} == {"m-f16"}


def entry(length: int, *, name: str = "parent") -> Entry:
    description = ModelDescription(
        architecture="llama",
        name=None,
        licence=None,
        parameters=1,
        parameter_class="micro",
        quantization="Q4_0",
        dominant_tensor_type="Q4_0",
        tensor_bytes={},
        weights_bytes=1,
        context_length=1,
        embedding_length=1,
        feed_forward_length=1,
        block_count=1,
        head_count=1,
        tokenizer="gpt2",
        vocabulary_size=1,
        has_chat_template=False,
        kv_bytes_per_token=1,
    )
    origin = Origin(kind="file", address="x", at="2026-11-25T00:00:00Z")
    return Entry(
        name=name,
        version="1",
        sha256="0" * 64,
        length=length,
        added_at=origin.at,
        origin=origin,
        description=description,
    )


def plan(
    kind: str,
    *tensors: TensorPlan,
    length: int = 10**9,
    fallbacks: tuple[Fallback, ...] = (),
    metadata: dict[str, str] | None = None,
    force: bool = False,
    keep_output: bool = False,
) -> Plan:
    header = GgufHeader(3, (), (), 32, 0, 0, 1000, 0, 0, metadata or {})
    return make_plan(
        entry(length), header, find_type(kind), tensors, fallbacks, force=force, keep_output=keep_output
    )


MATRIX = 64 * 1024


def test_the_size_is_that_of_the_header_and_the_padded_tensors() -> None:
    made = plan("Q4_0", TensorPlan("a.weight", MATRIX, "F16", "Q4_0"), TensorPlan("n", 3, "F32", "F32"))
    assert made.new_length == 1000 + MATRIX // 32 * 18 + 32
    assert made.tensor_types == {"Q4_0": 1, "F32": 1}
    assert made.warnings == ()


def test_what_is_quantized_already_is_said_so() -> None:
    (warning,) = plan("Q4_0", TensorPlan("a.weight", MATRIX, "Q8_0", "Q4_0")).warnings
    assert "parent@1 is quantized already (Q4_0, mostly Q8_0 inside)" in warning


@pytest.mark.parametrize("new", ["Q8_0", "F16"])
def test_a_type_that_is_not_lower_is_refused_with_the_sizes(new: str) -> None:
    with pytest.raises(UsageError, match=r"holds Q4_0, and .* would not be lower: .* MiB after"):
        plan(new, TensorPlan("a.weight", MATRIX, "Q4_0", new), length=1000 + MATRIX // 32 * 18)


def test_the_same_type_again_is_refused() -> None:
    with pytest.raises(UsageError, match="is Q4_0 already: no tensor would change"):
        plan("Q4_0", TensorPlan("a.weight", MATRIX, "Q4_0", "Q4_0"))


def test_between_the_two_halves_of_a_float_is_no_way_up() -> None:
    made = plan("BF16", TensorPlan("a.weight", MATRIX, "F16", "BF16"), length=1000 + MATRIX * 2)
    assert made.warnings == ()


def test_with_force_a_larger_type_is_made_and_the_reader_warned() -> None:
    made = plan("Q8_0", TensorPlan("a.weight", MATRIX, "Q4_0", "Q8_0"), length=1000, force=True)
    assert any("is larger than what it was made of" in warning for warning in made.warnings)


def test_types_that_llama_cpp_gave_instead_are_counted() -> None:
    fallbacks = tuple(Fallback(f"blk.{n}.x.weight", 576, 256, "TQ2_0", "Q4_0") for n in range(2))
    made = plan(
        "TQ2_0",
        TensorPlan("blk.0.x.weight", MATRIX, "F16", "Q4_0"),
        TensorPlan("blk.1.x.weight", MATRIX, "F16", "Q4_0"),
        TensorPlan("blk.0.y.weight", MATRIX, "F16", "TQ2_0"),
        TensorPlan("n.weight", 64, "F32", "F32"),
        fallbacks=fallbacks,
        metadata={"general.architecture": "bitnet"},
    )
    assert "\n".join(made.warnings) == (
        "not all TQ2_0: of 3 matrices 2 became Q4_0 instead of TQ2_0 (rows of 576 do not divide by 256). "
        "Really inside: 2 Q4_0, 1 TQ2_0"
    )


@pytest.mark.parametrize(
    ("metadata", "warned"),
    [
        ({"general.architecture": "llama"}, True),
        ({"general.architecture": "bitnet-b1.58"}, False),
        ({"general.name": "bitnet_b1_58-large"}, False),
        ({"general.name": "TriLM 99M"}, False),
        ({"general.name": "model-21.58b"}, True),
    ],
)
def test_ternary_types_are_for_models_that_were_trained_so(metadata: dict[str, str], warned: bool) -> None:
    made = plan("TQ1_0", TensorPlan("a.weight", MATRIX, "F16", "TQ1_0"), metadata=metadata)
    assert any("trained with ternary weights" in warning for warning in made.warnings) is warned


def test_an_output_layer_that_is_not_there_cannot_be_kept() -> None:
    tensors = [TensorPlan("a.weight", MATRIX, "F16", "Q4_0"), TensorPlan("output.weight", 64, "F16", "F16")]
    assert "no output layer to keep" in plan("Q4_0", tensors[0], keep_output=True).warnings[0]
    assert plan("Q4_0", *tensors, keep_output=True).warnings == ()


def test_what_a_child_says_survives_the_way_through_json() -> None:
    said = read_log(DRY_RUN)
    assert msgspec.json.decode(msgspec.json.encode(said), type=type(said)) == said
