import json
from typing import Any

import pytest

from skerry_controller.cli import watching
from skerry_controller.errors import WorldError


def rollout(state: str, standing: str, /, **device: object) -> dict[str, Any]:
    progress = {
        "device": "d-1", "standing": standing, "state": None, "attempt": 1,
        "bytes_done": 0, "bytes_total": 0, "reason_code": None, "reason": None,
    }  # fmt: skip
    return {
        "id": "r-1", "channel": "a/b", "to": "m@2", "state": state, "reason": None, "wave": 1,
        "waves": ["100%"], "soak_s": 0, "soak_until": None, "window_open": True,
        "counts": {"devices": 1, standing: 1},
        "devices": [progress | device],
    }  # fmt: skip


class Controller:
    """Answers with one view after the other; an error is raised."""

    def __init__(self, *views: dict[str, Any] | Exception) -> None:
        self._views = list(views)

    async def get(self, _: str) -> dict[str, Any]:
        view = self._views.pop(0)
        if isinstance(view, Exception):
            raise view
        return view


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("aborted", 1), ("paused", 3)])
async def test_the_exit_code_tells_the_end(state: str, code: int) -> None:
    controller = Controller(rollout("running", "pending"), rollout(state, "committed"))
    assert await watching._until_end(controller, "r-1", 0, lambda _: None) == code


async def test_a_controller_that_starts_again_is_waited_for() -> None:
    controller = Controller(
        rollout("running", "pending"), WorldError("no answer"), rollout("succeeded", "committed")
    )
    assert await watching._until_end(controller, "r-1", 0, lambda _: None) == 0


async def test_a_controller_that_never_answered_is_not_waited_for() -> None:
    controller = Controller(WorldError("no answer"), rollout("succeeded", "committed"))
    with pytest.raises(WorldError):
        await watching._until_end(controller, "r-1", 0, lambda _: None)


async def test_a_controller_that_stays_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_PATIENCE_S", -1)
    controller = Controller(rollout("running", "pending"), WorldError("no answer"))
    with pytest.raises(WorldError):
        await watching._until_end(controller, "r-1", 0, lambda _: None)


def test_lines_tell_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = watching._Lines()
    downloading = rollout("running", "pending", state="downloading", bytes_done=50, bytes_total=100)
    for seen in (rollout("running", "pending"), downloading, downloading):
        lines(seen)
    refused = rollout("paused", "failed", state="refused", reason="wrong hash", reason_code="hash_mismatch")
    lines(refused | {"reason": "1 of 1 assigned devices failed"})
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 5
    assert out[2] == "d-1  pending  downloading  50% of 0.1 KiB"
    assert out[3] == "d-1  failed  refused  wrong hash (hash_mismatch)"
    assert out[4].endswith("paused  wave 1 of 1  1 failed: 1 of 1 assigned devices failed")


def test_json_lines_are_one_document_each(capsys: pytest.CaptureFixture[str]) -> None:
    printer = watching._JsonLines()
    for state in ("running", "running", "succeeded"):
        printer(rollout(state, "pending"))
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert states == ["running", "succeeded"]
