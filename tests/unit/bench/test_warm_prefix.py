"""A peer's warm figure counts only where the prefix was really warm."""

from pathlib import Path

from bench.runtime.figures import Figures
from bench.runtime.http_stream import Answer
from bench.runtime.peers import ModelCase, Peer
from bench.runtime.prefixes import _warm_figure
from bench.runtime.scale import QUICK, Turn
from support.processes import Service


def turn_of(name: str) -> Turn:
    case = ModelCase("model", Path("model.gguf"), chat=True, end_tokens=())
    peer = Peer(name, Service(name, ["true"], Path("log"), {}), 1, case, "/", "model", {})
    return Turn(peer, 0, QUICK, Figures(), Path())


def answers(*cached: int) -> list[Answer]:
    return [Answer(sent_at=0.0, prompt_tokens=600, cached_tokens=count) for count in cached]


def test_a_prefix_that_every_slot_held_is_warm() -> None:
    turn = turn_of("llama-server")
    assert _warm_figure(turn, answers(580, 580)) == "prefix_warm"
    assert turn.figures.notes == []


def test_a_prefix_that_one_slot_read_anew_is_not_judged() -> None:
    turn = turn_of("llama-server")
    assert _warm_figure(turn, answers(580, 0)) != "prefix_warm"
    assert "290 of 600" in turn.figures.notes[0]


def test_our_own_agent_is_judged_also_when_it_lost_the_prefix() -> None:
    assert _warm_figure(turn_of("skerry"), answers(0, 0)) == "prefix_warm"


def test_a_server_that_does_not_tell_is_believed() -> None:
    assert _warm_figure(turn_of("llama_cpp.server"), answers(0, 0)) == "prefix_warm"
