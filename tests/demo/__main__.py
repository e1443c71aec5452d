"""``make demo``: runs the story, writes ``demo-report.json``, exits 0 only when all of it was verified."""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from demo import attacks, outage, proof, story
from demo.report import Report, Step
from demo.story import Story
from support.fleet import Controller, Device

ROOT = Path(__file__).parents[2]
STEPS: list[tuple[str, Callable[[Story, Step], None]]] = [
    ("A controller with its broker", story.bring_up),
    ("Two devices enroll", story.enroll),
    ("A model is signed, published and rolled out", story.publish_and_roll_out),
    ("The devices prove and commit it", story.watch),
    ("A local program asks", story.answer),
    ("The broker goes away and comes back", outage.outage),
    ("What was not signed is refused", attacks.attacks),
    ("kill -9 of the runner in the middle of an answer", story.crash_runner),
    ("A metadata fix costs a few KiB, and soaks before it stays", proof.metadata_fix),
    ("A version with a floor out of reach goes back by itself", proof.slow_model),
    ("kill -9 in the middle of a download", proof.kill_in_download),
]


def main() -> int:
    """Tell the story. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the SmolLM2 model file")
    parser.add_argument("--keep", action="store_true", help="leave controller and devices running")
    options = parser.parse_args()
    console = Console()
    folder = ROOT / "demo-data"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    report = Report(ROOT / "demo-report.json", console)
    devices = [Device.in_folder(folder, name) for name in ("device-a", "device-b")]
    told = Story(console, Controller.in_folder(folder), devices, options.model)
    try:
        for name, tell in STEPS:
            with report.step(name) as step:
                tell(told, step)
    except KeyboardInterrupt:
        console.print("interrupted; stopping everything")
        return 130
    except Exception as error:  # noqa: BLE001 - whatever it was: the report has it, and the exit code says so
        console.print(f"[red]failed:[/red] {error}", highlight=False)
        console.print(f"logs are in {folder}")
    finally:
        if not (options.keep and report.ok):
            for service in (*(one.service for one in devices), told.controller.service):
                service.stop()
        report.summary()
    if options.keep and report.ok:
        _tell_addresses(console, told)
    return 0 if report.ok and len(report.steps) == len(STEPS) else 1


def _tell_addresses(console: Console, told: Story) -> None:
    controller = told.controller
    console.print("left running; to look around:")
    for name in ("SKERRY_URL", "SKERRY_TOKEN"):
        console.print(f"  export {name}={controller.environment()[name]}", highlight=False)
    console.print("  .venv/bin/skerry device list")
    for one in told.devices:
        console.print(f"  {one.name} {one.id}: {one.url}/v1 (OpenAI), state in {one.state}", highlight=False)
    pids = " ".join(str(s.pid) for s in (*(one.service for one in told.devices), controller.service))
    console.print(f"stop it with: kill {pids}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
