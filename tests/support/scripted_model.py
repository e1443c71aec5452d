"""A model of a few lines for the engine: its language is bytes, and it says what it is told to say.

Its cache keeps the rules of llama.cpp's: cells are finite, positions follow each other, and a sequence that
shares another's cells sees what that one put there.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skerry_agent.runtime.chat_template import ChatTemplate, TemplateBrokenError
from skerry_agent.runtime.draft import Draft
from skerry_agent.runtime.embedding import Pooling
from skerry_agent.runtime.engine import Engine, EngineOptions
from skerry_agent.runtime.engine_ports import AdapterUnusableError, EngineBrokenError, NoRoomError, Part
from skerry_agent.runtime.errors import InvalidRequestError
from skerry_agent.runtime.prefix_store import PrefixStore
from skerry_agent.runtime.prompt_reader import PromptReader
from skerry_agent.runtime.requests import AdapterFile, Candidate, GenerateRequest, TokenLogprobs
from skerry_agent.runtime.wire import (
    Cancelled,
    Detokenized,
    Embedded,
    Failed,
    Finished,
    FromRunner,
    Outcome,
    Token,
    Tokenized,
)

END = 256
LAST = (Finished, Failed, Cancelled, Embedded, Tokenized, Detokenized)


class ScriptedModel:
    """The model; ``answer`` is a text, or a function from the prompt to the text."""

    def __init__(
        self,
        answer: str | Callable[[bytes], str] = "hello",
        *,
        context: int = 32,
        cells: int = 64,
        batch: int = 4,
        sequences: int = 16,
        shares: bool = True,
    ) -> None:
        self.answer: Callable[[bytes], str] = answer if callable(answer) else lambda _: answer
        self.context_tokens = context
        self.kv_tokens = cells
        self.batch_tokens = batch
        self.sequences = sequences
        self.shares = shares
        self.vocabulary = END + 1
        self.max_saved_tokens = context
        self.decoded: list[list[Part]] = []
        self.before_decode: Callable[[Sequence[Part]], None] = lambda _: None
        self.specials: list[bool] = []
        self.open_samplers = 0
        self.broken_off = 0
        self.adapters: list[str] = []
        self.loaded: set[str] = set()
        self.adapters_of: list[tuple[list[str], list[int]]] = []
        """For each step: the adapters, and the sequences in it."""
        self.cells: list[dict[int, tuple[int, int]]] = []
        """For each cell that is in use: its position and token, by the sequences that hold it."""
        self.rows: dict[int, tuple[int, int]] = {}
        """Sequence and length up to each row that has logits."""

    def tokenize(self, text: str, *, add_special: bool) -> list[int]:
        self.specials.append(add_special)
        return list(text.encode())

    def check_tokens(self, request: GenerateRequest) -> None:
        if any(token > END for token in request.prompt_tokens or ()):
            raise InvalidRequestError("no such token")

    def piece(self, token: int) -> bytes:
        return bytes([token])

    def is_end(self, token: int) -> bool:
        return token == END

    def text_of(self, sequence: int) -> list[int]:
        """The tokens of a sequence; all positions have to be there once."""
        held = sorted(cell[sequence] for cell in self.cells if sequence in cell)
        assert [position for position, _ in held] == list(range(len(held)))
        return [token for _, token in held]

    def check_adapters(self, adapters: Sequence[AdapterFile]) -> None:
        if any(adapter.path == "damaged" for adapter in adapters):
            raise AdapterUnusableError("the adapter is damaged")

    def load_adapters(self, adapters: Sequence[AdapterFile]) -> None:
        if any(adapter.path == "unloadable" for adapter in adapters):
            raise AdapterUnusableError("llama.cpp cannot load the adapter")
        self.loaded |= {adapter.sha256 for adapter in adapters}

    def use_adapters(self, adapters: Sequence[AdapterFile]) -> None:
        self.adapters = [adapter.sha256 for adapter in adapters]
        assert self.loaded >= set(self.adapters)

    def decode(self, parts: Sequence[Part]) -> list[int]:
        self.before_decode(parts)
        count = sum(len(part.tokens) for part in parts)
        assert 0 < count <= self.batch_tokens
        if len(self.cells) + count > self.kv_tokens:
            raise NoRoomError
        rows, at = [], 0
        self.rows = {}
        for part in parts:
            assert part.position == len(self.text_of(part.sequence))
            assert part.position + len(part.tokens) <= self.context_tokens
            for offset, token in enumerate(part.tokens):
                self.cells.append({part.sequence: (part.position + offset, token)})
            at += len(part.tokens)
            rows.append(at - 1)
            for back in range(part.outputs):
                self.rows[at - 1 - back] = (part.sequence, part.position + len(part.tokens) - back)
        self.adapters_of.append((self.adapters, [part.sequence for part in parts]))
        self.decoded.append([Part(p.sequence, p.position, list(p.tokens), p.outputs) for p in parts])
        return rows

    def share(self, source: int, target: int, start: int, end: int) -> None:
        assert self.shares
        for cell in self.cells:
            if target in cell and start <= cell[target][0] < end:
                del cell[target]
        for cell in self.cells:
            if source in cell and start <= cell[source][0] < end:
                cell[target] = cell[source]
        self._collect()

    def cut(self, sequence: int, length: int) -> None:
        assert 0 <= sequence < self.sequences
        assert self.shares or length == 0
        for cell in self.cells:
            if sequence in cell and cell[sequence][0] >= length:
                del cell[sequence]
        self._collect()

    def save_state(self, sequence: int) -> bytearray:
        held = sorted(cell[sequence] for cell in self.cells if sequence in cell)
        assert 0 < len(held) <= self.max_saved_tokens
        return bytearray(json.dumps(held), "ascii")

    def load_state(self, sequence: int, state: memoryview, start: int, end: int) -> bool:
        held = [(position, token) for position, token in json.loads(bytes(state))]
        if [position for position, _ in held] != list(range(start, end)):
            return False
        assert not any(sequence in cell for cell in self.cells)
        assert len(self.cells) + len(held) <= self.kv_tokens
        self.cells += [{sequence: cell} for cell in held]
        return True

    def _collect(self) -> None:
        self.cells = [cell for cell in self.cells if cell]

    def break_off(self) -> None:
        self.broken_off += 1

    def logprobs(self, row: int, token: int, top: int) -> TokenLogprobs:
        assert row in self.rows
        chosen = Candidate(token, self.piece(token), -0.5)
        return TokenLogprobs(chosen, (chosen,) * top)

    def sampler(self, request: GenerateRequest, prompt: Sequence[int]) -> "ScriptedSampler":
        self.open_samplers += 1
        return ScriptedSampler(self, [*self.answer(bytes(prompt)).encode(), END], list(prompt))


class ScriptedSampler:
    """Says the answer token by token, and checks that the sequence it follows is its own."""

    def __init__(self, model: ScriptedModel, answer: list[int], expected: list[int]) -> None:
        self._model = model
        self._tokens: Iterator[int] = iter(answer)
        self._expected = expected
        self._open = True

    def next(self, row: int) -> int:
        assert self._open
        sequence, length = self._model.rows[row]
        seen = self._model.text_of(sequence)[:length]
        assert seen == self._expected, "the sequence holds somebody else's tokens"
        token = next(self._tokens)
        self._expected.append(token)
        return token

    def close(self) -> None:
        self._model.open_samplers -= self._open
        self._open = False


class ScriptedScoreModel:
    """Every token that follows another has a probability of 1/e."""

    window_tokens = 8
    step_tokens = 3

    def begin(self, adapters: Sequence[AdapterFile]) -> None:
        self.read = 0

    def nats(self, tokens: Sequence[int], position: int, following: Sequence[int]) -> float:
        assert position == self.read
        self.read += len(tokens)
        return float(len(following))

    def close(self) -> None:
        pass


class ScriptedEmbedModel:
    """Vectors of two numbers: a token's id, and its position."""

    context_tokens = 8
    step_tokens = 3
    pooling: Pooling = "mean"
    made = 0
    closed = 0

    def __init__(self) -> None:
        type(self).made += 1
        self._read = 0

    def begin(self, adapters: Sequence[AdapterFile]) -> None:
        self._read = 0

    def vectors(self, tokens: Sequence[int], position: int) -> NDArray[np.float32]:
        assert position == self._read
        assert 0 < len(tokens) <= self.step_tokens
        self._read += len(tokens)
        return np.array([[token, position + i] for i, token in enumerate(tokens)], np.float32)

    def close(self) -> None:
        type(self).closed += 1


class EngineBench:
    """An engine that runs in its threads, and its events."""

    def __init__(
        self,
        model: ScriptedModel,
        *,
        template: ChatTemplate | TemplateBrokenError | None = None,
        options: EngineOptions | None = None,
        store: PrefixStore | None = None,
        draft: Draft[Any] | None = None,
    ) -> None:
        self.events: list[FromRunner] = []
        self.broken: list[EngineBrokenError] = []
        self._changed = threading.Condition()
        self.engine = Engine(
            model,
            reader=PromptReader(model, template=template, bos_text="<s>"),
            emit=self._take,
            on_broken=self._take_broken,
            open_embed_model=ScriptedEmbedModel,
            open_score_model=ScriptedScoreModel,
            options=options,
            store=store,
            draft=draft,
        )
        self._threads = self.engine.start()

    def _take(self, events: Sequence[FromRunner]) -> None:
        with self._changed:
            self.events.extend(events)
            self._changed.notify_all()

    def _take_broken(self, error: EngineBrokenError) -> None:
        with self._changed:
            self.broken.append(error)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, 10)

    def wait(self, ended: int) -> list[FromRunner]:
        """All events, when so many requests have ended."""
        self.wait_for(lambda: len(self.ends()) >= ended)
        return list(self.events)

    def ends(self) -> list[Outcome]:
        """Last messages so far."""
        return [event for event in self.events if isinstance(event, LAST)]

    def text(self, number: int) -> str:
        """The answer to one request so far."""
        return "".join(e.text for e in self.events if isinstance(e, Token) and e.job == number)

    def end(self, number: int) -> Outcome:
        """Wait for the last message of a request."""
        self.wait_for(lambda: any(event.job == number for event in self.ends()))
        return next(event for event in self.ends() if event.job == number)

    def run(self, request: GenerateRequest, number: int = 1) -> tuple[str, FromRunner]:
        """One request from beginning to end."""
        self.engine.submit(number, request)
        end = self.end(number)
        return self.text(number), end

    def writers(self) -> list[threading.Thread]:
        """Threads that save prefixes, after the engine has come to rest."""
        deadline = time.monotonic() + 0.2
        while time.monotonic() < deadline:
            found = [thread for thread in threading.enumerate() if thread.name == "prefix-writer"]
            if found:
                return found
            time.sleep(0.005)  # the engine rests just after the last message
        return []

    def close(self) -> None:
        """End the threads; again is fine."""
        self.engine.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()
