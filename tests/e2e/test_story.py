"""The spine: publish, roll out, answer, lose the broker, kill the daemon, go back."""

import sqlite3
from contextlib import closing

import openai

from e2e.conftest import CHANNEL, StartDevice, publish_tiny
from support.fleet import Controller, Device
from support.processes import wait_for
from support.waiting import finish_rollout, wait_for_event, wait_for_slot


def ask(device: Device, model: str = CHANNEL) -> str:
    with openai.OpenAI(base_url=f"{device.url}/v1", api_key="x", max_retries=0) as client:
        done = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hello"}], max_tokens=5, temperature=0
        )
    return done.choices[0].message.content or ""


def test_a_version_is_rolled_out_replaced_and_rolled_back_by_hand(
    house: Controller, start_device: StartDevice
) -> None:
    device = start_device(house, "box", "site=lab")
    assert finish_rollout(house, CHANNEL, "tiny@1")["state"] == "succeeded"
    slot = wait_for_slot(house, device, CHANNEL, "committed", ref="tiny@1")
    assert slot["figures"]["tokens_per_s"] > 0
    first = ask(device)
    publish_tiny(house, "2", seed=2)
    assert finish_rollout(house, CHANNEL, "tiny@2")["state"] == "succeeded"
    wait_for_slot(house, device, CHANNEL, "committed", ref="tiny@2")
    assert ask(device) != first
    assert ask(device, "tiny@1") == first
    device.run("rollback", "assistant")
    wait_for_slot(house, device, CHANNEL, "rolled_back", ref="tiny@1")
    assert ask(device) == first


def test_a_new_device_gets_the_channels_current_version(house: Controller, start_device: StartDevice) -> None:
    channel = "newcomers/stable"
    house.run("channel", "set", channel, "--selector", "ring=new", "--artifact", "tiny@1")
    device = start_device(house, "late", "ring=new")
    wait_for_slot(house, device, channel, "committed", ref="tiny@1")
    assert ask(device, "newcomers")


def test_a_device_that_matches_no_channel_runs_nothing(house: Controller, start_device: StartDevice) -> None:
    device = start_device(house, "other", "site=elsewhere")
    wait_for(lambda: house.json("device", "show", device.id)["reported"], "no report")
    assert house.json("device", "show", device.id)["reported"]["slots"] == {}


def test_a_killed_broker_is_back_and_every_sample_arrives_once(
    house: Controller, start_device: StartDevice
) -> None:
    device = start_device(house, "sampler", SKERRY_AGENT_TELEMETRY__SAMPLE_INTERVAL_S="0.2")
    mosquitto = wait_for(lambda: broker_pid(house), "no mosquitto below the controller")
    import os  # noqa: PLC0415 - only here
    import signal  # noqa: PLC0415 - only here

    os.kill(mosquitto, signal.SIGKILL)
    wait_for(lambda: (pid := broker_pid(house)) and pid != mosquitto, "the broker was not started again")
    device.wait_connected()
    device.service.stop()
    with closing(sqlite3.connect(device.state / "outbox.db")) as outbox:
        taken = dict(
            outbox.execute("SELECT id, next_sequence FROM streams WHERE class = 'samples'").fetchall()
        )
    assert sum(taken.values()) > 3
    device.start()
    wait_for(lambda: stored_samples(house, device, taken) == taken, "samples are missing")
    with closing(sqlite3.connect(f"file:{house.data / 'controller.db'}?mode=ro", uri=True)) as database:
        total, distinct = database.execute(
            "SELECT count(*), count(DISTINCT stream || ':' || sequence) FROM records WHERE device_id = ?",
            (device.id,),
        ).fetchone()
    assert total == distinct
    samples = house.json("telemetry", "query", device.id, "cpu_percent", "--since", "1h")
    assert samples


def broker_pid(controller: Controller) -> int | None:
    import psutil  # noqa: PLC0415 - only here

    children = psutil.Process(controller.service.pid).children(recursive=True)
    return next((child.pid for child in children if "mosquitto" in child.name()), None)


def stored_samples(controller: Controller, device: Device, streams: dict[str, int]) -> dict[str, int]:
    query = "SELECT stream, count(*) FROM records WHERE device_id = ? AND kind = 'sample' GROUP BY stream"
    with closing(sqlite3.connect(f"file:{controller.data / 'controller.db'}?mode=ro", uri=True)) as database:
        found = dict(database.execute(query, (device.id,)).fetchall())
    return {stream: found.get(stream, 0) for stream in streams}


def test_kill_9_of_the_daemon_loses_nothing(house: Controller, start_device: StartDevice) -> None:
    channel = "sturdy/stable"
    house.run("channel", "set", channel, "--selector", "ring=sturdy", "--artifact", "tiny@1")
    device = start_device(house, "sturdy", "ring=sturdy")
    wait_for_slot(house, device, channel, "committed", ref="tiny@1")
    for _ in range(3):
        device.service.kill()
        device.start()
        assert ask(device, channel)
    device.wait_connected()
    wait_for_slot(house, device, channel, "committed", ref="tiny@1")
    wait_for_event(house, device, "update_committed")


def test_the_server_runs_without_the_keyring(house: Controller, start_device: StartDevice) -> None:
    device = start_device(house, "trusting", "ring=keyless")
    away = house.keys.with_name("in-a-safe")
    house.keys.rename(away)
    try:
        house.service.stop()
        house.start()
        device.wait_connected()
        house.run("channel", "set", "keyless/stable", "--selector", "ring=keyless", "--artifact", "tiny@1")
        wait_for_slot(house, device, "keyless/stable", "committed", ref="tiny@1")
        refused = house.run(
            "artifact", "add", "tiny@9", house.folder / "tiny-1.gguf", "--keys", house.keys, check=False
        )
        assert refused.startswith("1\n")
    finally:
        away.rename(house.keys)
