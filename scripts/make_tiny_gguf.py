"""Write the tiny test model to a file: ``python scripts/make_tiny_gguf.py PATH``; ``--help`` says more."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.tiny_gguf import write_tiny_gguf


def main() -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="the GGUF file to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random weights")
    parser.add_argument("--name", default="tiny", help="general.name")
    parser.add_argument("--context", type=int, default=256, help="trained context length in tokens")
    parser.add_argument("--no-chat-template", action="store_true", help="make a base model")
    arguments = parser.parse_args()
    path = write_tiny_gguf(
        arguments.path,
        chat_template=not arguments.no_chat_template,
        seed=arguments.seed,
        context=arguments.context,
        name=arguments.name,
    )
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
