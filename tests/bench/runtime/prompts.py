"""Prompts that are the same bytes for every peer, and new in every round."""

import random
from dataclasses import dataclass
from typing import Any

_NOUNS = """
time year people way day man thing woman life child world school state family student group country
problem hand part place case week company system program question work government number night point
home water room mother area money story fact month lot right study book eye job word business issue
side kind head house service friend father power hour game line end member law car city community
name president team minute idea body information back parent face others level office door health
person art war history party result change morning reason research girl guy moment air teacher force
education foot boy age policy music process market sense nation plan college interest death
experience effect use class control care field development role effort rate heart drug show leader
light voice wife police mind price report decision son view relationship town road arm difference
value building action season society tax director position player record paper space ground form
event matter center couple site project activity star table need court oil situation cost industry
figure street image phone data picture practice piece land product doctor wall patient worker news
test movie north love support technology step baby computer type attention film tree source
organization hair look window evidence culture chance brother energy period course summer plant
opportunity term letter condition choice rule daughter south husband floor campaign material
population call economy hospital church risk fire future bank
"""
WORDS = _NOUNS.split()


@dataclass(frozen=True)
class Prompt:
    """What is asked.

    Attributes:
        text: The question.
        prefix: What stands before it, the same in several prompts; "" for nothing.
    """

    text: str
    prefix: str = ""

    def chat_fields(self) -> dict[str, Any]:
        """As a chat."""
        system = [{"role": "system", "content": self.prefix}] if self.prefix else []
        return {"messages": [*system, {"role": "user", "content": self.text}]}

    def text_fields(self) -> dict[str, Any]:
        """As plain text to go on with."""
        return {"prompt": f"{self.prefix}\n\n{self.text}\n" if self.prefix else self.text}


def rng_of(*parts: object) -> random.Random:
    """A source of numbers that is the same for the same parts."""
    return random.Random("/".join(map(str, parts)))  # noqa: S311 - prompts, not secrets


def story_prompt(*parts: object) -> Prompt:
    """A short prompt with a long answer."""
    words = rng_of("story", *parts).sample(WORDS, 6)
    return Prompt(
        f"Tell a very long story about a {', a '.join(words)}. Once upon a time there was a {words[0]}"
    )


def prefix_text(count: int, *parts: object) -> str:
    """A text of ``count`` words, each about a token; with other parts it differs from the beginning on."""
    rng = rng_of("prefix", *parts)
    words = [rng.choice(WORDS) for _ in range(count)]
    lines = [" ".join(words[n : n + 20]) for n in range(0, len(words), 20)]
    return f"{rng.choice(WORDS).title()} {rng.choice(WORDS)} rules:\n" + "\n".join(lines)


def question(prefix: str, *parts: object) -> Prompt:
    """A new question after a prefix."""
    words = rng_of("question", *parts).sample(WORDS, 5)
    return Prompt(f"{words[0].title()}: what do the rules say about {', '.join(words[1:])}?", prefix)
