"""Install llama.cpp's converter in its own environment, for the tests that run it."""

import sys

from skerry_controller.errors import ControllerError
from skerry_controller.workshop.converting import Environment, EnvironmentSettings
from skerry_controller.workshop.progress import StopSign


def say(what: str, done: float, total: float | None = None) -> None:
    """A progress line."""
    amount = "" if total is None else f" {done:.0f} of {total:.0f}"
    print(f"converter: {what}{amount}", file=sys.stderr, flush=True)


def main() -> None:
    """Install it, unless it is there."""
    try:
        Environment(EnvironmentSettings.usual()).install(say, StopSign())
    except ControllerError as error:
        sys.exit(f"converter: {error}")


if __name__ == "__main__":
    main()
