"""The model card: what a version is, in Markdown, for whoever meets it anywhere. Pure."""

from collections.abc import Iterator, Sequence

from skerry_controller.workshop.comparing.reading import Subject
from skerry_controller.workshop.library import Entry, Figures
from skerry_protocol.acceptance import Acceptance
from skerry_protocol.names import ArtifactRef

MAX_CARD_CHARACTERS = 8192
"""It travels in the signed manifest, which devices fetch."""
_MIB = 1024 * 1024
_SHOWN = (
    "generation_tok_s",
    "prompt_tok_s",
    "first_token_ms",
    "load_cold_ms",
    "rss_bytes",
    "joules_per_token",
    "perplexity",
    "bits_per_byte",
    "kl_divergence",
    "answers_right_share",
)


def model_card(
    ref: ArtifactRef,
    variants: Sequence[tuple[str, Subject, Acceptance]],
    licence: str | None,
) -> str:
    """The card of a version.

    Args:
        ref: What it is published as.
        variants: Selector, model with figures, and what is asked of devices, in their order.
        licence: Under which it is published.
    """
    main = variants[-1][1].entry
    lines = [f"# {ref}", "", _what(main), "", "## Licence", "", _licence(main, licence), ""]
    for selector, subject, acceptance in variants:
        whose = (
            f"For devices with `{selector}`" if selector else ("Else" if len(variants) > 1 else "The file")
        )
        lines += [f"## {whose}: {subject.entry.description.quantization}", ""]
        lines += [*_file(subject.entry), "", *_figures(subject), *_asked(acceptance), ""]
    text = "\n".join(lines).rstrip() + "\n"
    if len(text) <= MAX_CARD_CHARACTERS:
        return text
    kept = text[: MAX_CARD_CHARACTERS - 40]
    return kept[: kept.rfind("\n")] + "\n\n(cut: the library has the rest)\n"


def _what(entry: Entry) -> str:
    described = entry.description
    named = described.name or described.architecture
    template = "with" if described.has_chat_template else "without"
    return (
        f"{named}: a {entry.size_class} model of {described.parameters:,} parameters"
        f" ({entry.family or described.architecture}), trained for {described.context_length} tokens,"
        f" {template} a chat template."
    )


def _licence(entry: Entry, licence: str | None) -> str:
    if licence is None:
        return "**Not stated.** Nobody told under which licence this model may be used."
    source = f", stated by the {entry.licence.source}" if entry.licence.source else ""
    link = f": {entry.licence.link}" if entry.licence.link else ""
    return f"{licence}{source}{link}"


def _file(entry: Entry) -> Iterator[str]:
    yield f"- `{entry.ref}`, {entry.length / _MIB:.1f} MiB, SHA-256 `{entry.sha256}`"
    if entry.tensor_types:
        yield f"- tensors: {', '.join(f'{count} {kind}' for kind, count in entry.tensor_types.items())}"
    revision = f" ({entry.origin.revision})" if entry.origin.revision else ""
    yield f"- from {entry.origin.kind} `{entry.origin.address}`{revision}, {entry.added_at[:10]}"
    if entry.lineage is not None:
        yield f"- made of `{entry.lineage.parent}` by {entry.lineage.method} with {entry.lineage.tool}"
        yield from (f"- **warning**: {warning}" for warning in entry.lineage.warnings)


def _figures(subject: Subject) -> Iterator[str]:
    rows = [row for run in subject.figures for row in _rows(run)]
    if not rows:
        yield "Nothing was measured."
        yield ""
        return
    yield "| figure | value | at | machine | date |"
    yield "| --- | --- | --- | --- | --- |"
    yield from dict.fromkeys(rows)
    yield ""


def _rows(run: Figures) -> Iterator[str]:
    for figure in run.figures:
        if figure.name in _SHOWN:
            at = ", ".join(f"{key} {value}" for key, value in figure.at.items())
            value = figure.median / _MIB if figure.unit == "B" else figure.median
            unit = {"B": " MiB", "1": ""}.get(figure.unit, f" {figure.unit}")
            text = run.corpus if run.kind in ("quality", "questions") and run.corpus else at
            yield (
                f"| {figure.name} | {value:.4g}{unit} | {text} | {run.machine.device_class} |"
                f" {run.measured_at[:10]} |"
            )


def _asked(acceptance: Acceptance) -> Iterator[str]:
    asked = [
        f"at least {acceptance.min_tokens_per_s:g} tok/s" if acceptance.min_tokens_per_s else "",
        f"the first token within {acceptance.max_first_token_ms:g} ms"
        if acceptance.max_first_token_ms
        else "",
        f"at most {acceptance.max_memory_bytes / _MIB:.0f} MiB" if acceptance.max_memory_bytes else "",
    ]
    limit = acceptance.perplexity
    if limit is not None and limit.max_increase_percent is not None:
        asked.append(f"a perplexity at most {limit.max_increase_percent:g} % above the version before")
    named = ", ".join(each for each in asked if each)
    if named:
        yield f"A device keeps it only with {named}."
