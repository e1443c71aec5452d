"""``chat``, ``bench`` and ``token`` as a person runs them, on a real device."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from itertools import repeat
from pathlib import Path

import httpx
import pytest

from skerry_agent.runtime import TokenEvent
from support.fleet import Device
from support.local_api import LocalApi
from support.processes import run_command, wait_for

AGENT = str(Path(sys.executable).parent / "skerry-agent")


def test_a_question_from_a_pipe_is_answered_on_stdout(device: Device) -> None:
    done = run_command([AGENT, "chat", "tiny", "--max-tokens", "5", "--state", device.state], stdin="hello\n")
    assert done.stdout.strip()
    assert done.stderr == ""
    assert "tokens/s" not in done.stdout


def test_the_first_active_model_is_taken(device: Device) -> None:
    done = run_command([AGENT, "chat", "--max-tokens", "2", "--url", device.url], stdin="hello")
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "stdin", "error"),
    [
        (["nothing"], "hi", "no model is called 'nothing'"),
        (["tiny"], "", "stdin is empty"),
        (["tiny", "--url", "http://127.0.0.1:1"], "hi", "nobody answers"),
        (["tiny", "--url", "ftp://x"], "hi", "no address"),
        (["base@1"], "hi", "no chat template"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    device: Device, arguments: list[str], stdin: str, error: str
) -> None:
    done = run_command([AGENT, "chat", "--state", device.state, *arguments], stdin=stdin, check=False)
    assert done.returncode == 1
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == 1


def read_until(terminal: int, wanted: str, deadline_s: float = 30.0) -> str:
    """What the terminal shows, until it shows what is wanted."""
    shown = ""
    end = time.monotonic() + deadline_s
    while wanted not in shown:
        assert time.monotonic() < end, shown
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 4096).decode("utf-8", "replace")
    return shown


def test_a_chat_in_a_terminal_streams_stops_and_leaves(tmp_path: Path) -> None:
    api = LocalApi.in_folder(tmp_path)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    with api.served() as url:
        command = [AGENT, "chat", "assistant", "--url", url]
        with subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        ) as process:
            os.close(theirs)
            try:
                read_until(ours, ">>> ")
                os.write(ours, b"/system Be brief.\n")
                read_until(ours, "the system prompt is set")
                os.write(ours, b"hello\n")
                assert "Hello there" in read_until(ours, "tokens/s")
                api.runners.script = lambda _: repeat(TokenEvent("word "))
                api.runners.pause_s = 0.01
                os.write(ours, b"go on\n")
                read_until(ours, "word word")
                process.send_signal(signal.SIGINT)
                read_until(ours, "stopped")
                wait_for(lambda: not api.runners.open, "the runner still works for nobody")
                os.write(ours, b"/bye\n")
                assert process.wait(20) == 0
            finally:
                process.kill()
                os.close(ours)
    history = tmp_path / "skerry-agent" / "chat_history"
    assert "hello" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_a_bench_measures_reading_and_writing(device: Device) -> None:
    arguments = ["bench", "tiny", "--prompt", "32,64", "--generate", "8", "--rounds", "2"]
    report = json.loads(device.run(*arguments, "--json"))
    assert [test["test"] for test in report["tests"]] == ["pp32", "pp64", "tg8"]
    assert all(test["tokens_per_s"] > 0 for test in report["tests"])
    assert report["tests"][1]["tokens"] >= 64
    assert "tg8" in device.run(*arguments)


def test_a_token_opens_what_changes_models_until_it_is_revoked(device: Device) -> None:
    secret = device.run("token", "create", "--label", "laptop").strip()
    [listed] = [t for t in device.json("token", "list")["tokens"] if t["label"] == "laptop"]
    assert secret not in json.dumps(listed)

    def copy(name: str) -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        body = {"source": "tiny", "destination": name}
        return httpx.post(f"{device.url}/api/copy", json=body, headers=headers).status_code

    assert copy("first") == 200
    device.run("token", "revoke", listed["id"])
    assert copy("second") == 401
    assert "no token" in device.run("token", "revoke", listed["id"], check=False)
    names = [event["name"] for event in device.json("events")["events"]]
    assert {"api_token_created", "preset_created", "api_token_revoked"} <= set(names)


def test_what_was_made_survives_a_restart(device: Device) -> None:
    secret = device.run("token", "create").strip()
    headers = {"Authorization": f"Bearer {secret}"}
    body = {"model": "mario", "from": "tiny", "system": "You are Mario.", "stream": False}
    assert httpx.post(f"{device.url}/api/create", json=body, headers=headers).status_code == 200
    device.service.stop()
    device.start()
    answer = httpx.post(
        f"{device.url}/api/chat",
        json={
            "model": "mario",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": False,
            "options": {"num_predict": 3},
        },
        timeout=30,
    )
    assert answer.json()["done"]
    assert (
        httpx.request(
            "DELETE", f"{device.url}/api/delete", json={"model": "mario"}, headers=headers
        ).status_code
        == 200
    )
    assert httpx.post(f"{device.url}/api/show", json={"model": "mario"}).status_code == 404
