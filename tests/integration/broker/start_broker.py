"""Starts a broker, prints its process id and folder, and waits to be killed."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import structlog

from support.broker import BrokerHouse

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


async def main() -> None:
    house = BrokerHouse(Path(sys.argv[1]))
    async with house.broker.running() as broker:
        print(broker.pid, broker._folder, flush=True)  # noqa: T201 - the parent reads it
        await asyncio.Event().wait()


asyncio.run(main())
