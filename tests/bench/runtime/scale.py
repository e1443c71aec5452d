"""How large a run is, and what one turn of it gets."""

from dataclasses import dataclass
from pathlib import Path

from bench.runtime.figures import Figures
from bench.runtime.peers import Peer


@dataclass(frozen=True)
class Scale:
    """Sizes of a run.

    Attributes:
        rounds: Turns of each peer in each scenario.
        decode_tokens: Tokens of an answer whose speed is measured.
        settle_tokens: Unmeasured tokens beside the neighbour first: whoever adapts to it may do so.
        answer_tokens: Tokens of an answer whose beginning is measured.
        prefix_words: Words of the shared prefix; with what stands around them about as many tokens.
        soak_s: Least time of the soak, in seconds.
        soak_requests: Least number of its requests.
        kill_every_s: Time between two kills of the runner, in seconds.
    """

    rounds: int = 5
    decode_tokens: int = 128
    settle_tokens: int = 192
    answer_tokens: int = 24
    prefix_words: int = 585
    soak_s: float = 180.0
    soak_requests: int = 200
    kill_every_s: float = 20.0


FULL = Scale()
QUICK = Scale(
    rounds=1, decode_tokens=32, settle_tokens=32, answer_tokens=8, prefix_words=120,
    soak_s=16.0, soak_requests=40, kill_every_s=7.0,
)  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """One peer's turn in one round of a scenario.

    Attributes:
        peer: Whose turn it is.
        number: The round, from 0.
        scale: How large the run is.
        figures: Where the values go.
        folder: For files and logs.
    """

    peer: Peer
    number: int
    scale: Scale
    figures: Figures
    folder: Path

    def add(self, figure: str, value: float) -> None:
        """Add this turn's value."""
        self.figures.add(figure, self.peer.case.name, self.peer.name, self.number, value)

    def note(self, text: str) -> None:
        """Tell the reader of the report something about this peer."""
        self.figures.note(f"{self.peer.name}, {self.peer.case.name}: {text}")
