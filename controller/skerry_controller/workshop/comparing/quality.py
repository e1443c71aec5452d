"""On which scale models can be compared by quality: not every figure means the same for every model. Pure."""

from collections.abc import Callable, Sequence

import msgspec

from skerry_controller.workshop.comparing.reading import Reading, Subject, corpus_of, newest


class Scale(msgspec.Struct, frozen=True, omit_defaults=True):
    """A figure by which all of some models can be ranked.

    Attributes:
        name: Of the figure: ``bits_per_byte``, ``perplexity``, ``answers_right_share``.
        title: In words.
        unit: Its unit.
        less_is_better: Which way is better.
        why: Why this one.
    """

    name: str
    title: str
    unit: str
    less_is_better: bool
    why: str

    def goodness(self, value: float) -> float:
        """The value turned so that larger is better."""
        return -value if self.less_is_better else value


BITS = Scale(
    "bits_per_byte", "bits per byte of text", "bit", less_is_better=True, why="the same for all tokenizers"
)
PERPLEXITY = Scale(
    "perplexity",
    "perplexity",
    "1",
    less_is_better=True,
    why="all have the same vocabulary and read the same text",
)
ANSWERS = Scale(
    "answers_right_share",
    "share of right answers",
    "1",
    less_is_better=False,
    why="perplexities of different vocabularies do not compare",
)


def quality_scale(subjects: Sequence[Subject]) -> Scale | None:
    """The finest scale on which all of them were measured; None when there is none.

    Perplexity counts per token: it compares models of one vocabulary alone, on one text. Figures of quality
    do not depend on the machine.
    """
    if not subjects:
        return None
    if _all_have(subjects, BITS) and _same(subjects, lambda s: corpus_of(s, BITS.name)):
        return BITS
    one_vocabulary = _same(
        subjects, lambda s: (s.entry.description.tokenizer, s.entry.description.vocabulary_size)
    )
    if (
        one_vocabulary
        and _all_have(subjects, PERPLEXITY)
        and _same(subjects, lambda s: corpus_of(s, PERPLEXITY.name))
    ):
        return PERPLEXITY
    if _all_have(subjects, ANSWERS) and _same(subjects, lambda s: corpus_of(s, ANSWERS.name)):
        return ANSWERS
    return None


def quality_of(subject: Subject, scale: Scale) -> Reading | None:
    """The newest figure on a scale."""
    return newest(subject, scale.name)


def _all_have(subjects: Sequence[Subject], scale: Scale) -> bool:
    return all(newest(subject, scale.name) is not None for subject in subjects)


def _same(subjects: Sequence[Subject], key: Callable[[Subject], object]) -> bool:
    return len({key(subject) for subject in subjects}) == 1
