"""Which architectures this llama.cpp knows, and whether it runs on this processor: asked in a child."""

import asyncio
import contextlib
import os
import re
import signal
import sys

import msgspec
import structlog

from skerry_agent.runtime.process import runner_environment
from skerry_protocol.reported import Reason

log = structlog.get_logger(__name__)

LIBRARY_MODULE = "skerry_agent.runtime.library_main"
ASK_TIMEOUT_S = 60.0
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class _Answer(msgspec.Struct):
    knows: bool
    system: str = ""


class LlamaLibrary:
    """Asks once for each architecture."""

    def __init__(self) -> None:
        self._answers: dict[str, Reason | None] = {}

    async def problem(self, architecture: str) -> Reason | None:
        """Why a model of this architecture cannot run here; ``None`` when nothing speaks against it."""
        if _NAME.fullmatch(architecture) is None:
            return Reason("architecture_unsupported", f"{architecture[:64]!r} is no architecture's name")
        if architecture not in self._answers:
            code, output = await _ask(architecture)
            if code == -signal.SIGILL:
                reason: Reason | None = Reason(
                    "cpu_unsupported",
                    "this device's llama.cpp was built for another processor: it ended by SIGILL",
                )
            else:
                try:
                    answer = msgspec.json.decode(output, type=_Answer)
                except msgspec.DecodeError:
                    # Not known: the trial will show it. Asked again next time.
                    log.warning("library_not_asked", architecture=architecture, exit_code=code)
                    return None
                reason = None if answer.knows else _unknown(architecture)
            self._answers[architecture] = reason
        return self._answers[architecture]


def _unknown(architecture: str) -> Reason:
    return Reason(
        "architecture_unsupported",
        f"this device's llama.cpp does not know the architecture {architecture!r}: update the agent",
    )


async def _ask(architecture: str) -> tuple[int | None, bytes]:
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", LIBRARY_MODULE, architecture),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=runner_environment(os.environ, threads=1, huge_pages=False),
        )
    except OSError as error:
        log.warning("library_not_asked", architecture=architecture, error=str(error))
        return None, b""
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        return None, b""
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode, output
