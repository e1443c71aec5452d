"""The mosquitto child: started, watched, restarted, reloaded, stopped."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Self

import structlog

from skerry_controller import launcher
from skerry_controller.broker.account import Account, files_folder, find_account
from skerry_controller.broker.configuration import BrokerMaterial, write_configuration
from skerry_controller.broker.listening import check_port_is_free, find_binary, wait_until_listening
from skerry_controller.broker.settings import BrokerSettings
from skerry_controller.errors import ControllerError, WorldError

log = structlog.get_logger(__name__)

_REMEMBERED_LINES = 5
_RUNNING_LINE_TIMEOUT_S = 1.0


class BrokerState(StrEnum):
    """What the broker is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"  # it exited, and will be started again


class Backoff:
    """Waits between restarts: doubled each time, from the start again after a long run."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._next_s = settings.backoff_min_s

    def after_run_of(self, seconds: float) -> float:
        """How long to wait, in seconds, after a run of the given length."""
        if seconds >= self._settings.stable_after_s:
            self._next_s = self._settings.backoff_min_s
        wait_s = self._next_s
        self._next_s = min(self._next_s * 2, self._settings.backoff_max_s)
        return wait_s


class ManagedBroker:
    """One mosquitto, owned by one task: ``async with broker.running():``.

    Or by hand: ``start()``, ``watch()`` as a task of the owner's group, ``stop()``. The child dies when
    the *thread* that started it does, so start it from the thread that lives as long as the controller.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        material: BrokerMaterial,
        *,
        on_state: Callable[[BrokerState], None] | None = None,
    ) -> None:
        """Nothing is started or written yet.

        Args:
            settings: How it runs.
            material: Its TLS files.
            on_state: Called on the event loop at each change of state.
        """
        self._settings = settings
        self._material = material
        self._on_state = on_state or (lambda _: None)
        self._state = BrokerState.STOPPED
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._last_lines: deque[str] = deque(maxlen=_REMEMBERED_LINES)
        self._said_running = asyncio.Event()
        self._started_at = 0.0
        self._account: Account | None = None
        self._folder = settings.folder

    @property
    def state(self) -> BrokerState:
        """What it is doing."""
        return self._state

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Start it, watch it while the block runs, stop it."""
        await self.start()
        try:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self.watch(), name="broker-watch")
                yield self
                watcher.cancel()
        finally:
            await self.stop()

    async def start(self) -> None:
        """Write the configuration, start mosquitto, and return when it accepts connections.

        Raises:
            WorldError: It is not installed, its port is taken, or it did not start.
            UsageError: A setting is impossible.
        """
        if self._process is not None:
            raise RuntimeError("the broker was started already")
        await asyncio.to_thread(self._write_files)
        try:
            await self._launch()
        except BaseException:
            await self.stop()
            raise

    async def watch(self) -> None:
        """Start mosquitto again whenever it exits; runs until it is stopped or cancelled."""
        if self._process is None:
            raise RuntimeError("start the broker before watching it")
        backoff = Backoff(self._settings)
        while (process := self._process) is not None:
            code = await process.wait()
            if self._process is not process:  # it was stopped
                return
            ran_s = time.monotonic() - self._started_at
            log.error("broker_exited", code=code, ran_s=round(ran_s, 1))
            await self._restart(backoff, ran_s)

    async def _restart(self, backoff: Backoff, ran_s: float) -> None:
        while True:
            self._enter(BrokerState.WAITING)
            await self._end_reader()
            await asyncio.sleep(backoff.after_run_of(ran_s))
            if self._process is None:  # stopped in the meantime
                return
            try:
                await self._launch()
            except ControllerError as error:
                log.error("broker_restart_failed", error=str(error))  # noqa: TRY400 - the message says it all
                ran_s = 0.0
            else:
                return

    async def reload(self, material: BrokerMaterial | None = None) -> None:
        """Make mosquitto read its certificates, revocations and access list anew; sessions go on.

        Raises:
            WorldError: The disk refused, or mosquitto is not running (it will read them when it starts).
        """
        self._material = material or self._material
        await asyncio.to_thread(self._write_files)
        if self._process is None or self._process.returncode is not None:
            raise WorldError("the broker is not running: it reads its certificates when it starts again")
        self._process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        """End mosquitto, with SIGKILL if it takes too long; ``watch()`` returns then."""
        process, self._process = self._process, None
        if process is not None:
            await self._end(process)
        await self._end_reader()
        if self._folder != self._settings.folder.resolve():
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._enter(BrokerState.STOPPED)

    def _write_files(self) -> None:
        self._account = find_account(self._settings, os.geteuid())
        self._folder = files_folder(self._settings, self._account)
        write_configuration(self._settings, self._material, self._folder, self._account)

    async def _launch(self) -> None:
        binary = find_binary(self._settings.binary)
        check_port_is_free(self._settings)
        self._enter(BrokerState.STARTING)
        self._last_lines.clear()
        self._said_running.clear()
        self._started_at = time.monotonic()
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command(binary),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.defpath},  # the controller's environment may hold secrets
            start_new_session=True,  # Ctrl-C at the terminal goes to the controller, which stops it
        )
        self._reader = asyncio.create_task(self._read_log(process), name="broker-log")
        await self._wait_until_ready(process)
        self._enter(BrokerState.RUNNING)
        log.info("broker_running", pid=process.pid, port=self._settings.port)

    def _command(self, binary: Path) -> list[str]:
        account = self._account
        ids = ["-", "-"] if account is None else [str(account.user_id), str(account.group_id)]
        script = [sys.executable, "-I", "-S", str(launcher.__file__), str(os.getpid()), *ids]
        return [*script, str(binary), "-c", str(self._folder / "mosquitto.conf")]

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        ready = asyncio.create_task(self._wait_until_running(), name="broker-ready")
        exited = asyncio.create_task(process.wait(), name="broker-exit")
        try:
            await asyncio.wait(
                {ready, exited},
                timeout=self._settings.start_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            # Another program may answer on the port, so the exit counts first.
            if exited.done():
                await self._end_reader()
                raise WorldError(f"mosquitto did not start: {self._said()}")
            if not ready.done():
                await self._end(process)
                raise WorldError(
                    f"mosquitto did not listen within {self._settings.start_timeout_s:g} s: {self._said()}"
                )
        finally:
            for task in (ready, exited):
                task.cancel()
            await asyncio.gather(ready, exited, return_exceptions=True)

    async def _wait_until_running(self) -> None:
        """It listens, and has said that it runs: it opens its port before it reads its certificates."""
        await wait_until_listening(self._settings)
        with contextlib.suppress(TimeoutError):  # another version may say it otherwise
            async with asyncio.timeout(_RUNNING_LINE_TIMEOUT_S):
                await self._said_running.wait()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._settings.stop_timeout_s):
                await process.wait()
        except TimeoutError:
            log.warning("broker_killed", pid=process.pid)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None  # noqa: S101 - we asked for the pipe
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:  # longer than the reader's buffer, which drops it
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._last_lines.append(text)
            if text.endswith(" running"):
                self._said_running.set()
            if "error" in text.lower():
                log.warning("broker_said", text=text)
            else:
                log.debug("broker_said", text=text)

    async def _end_reader(self) -> None:
        """The log ends with the process: read the rest of it."""
        reader, self._reader = self._reader, None
        if reader is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.stop_timeout_s):
                    await reader

    def _said(self) -> str:
        return "; ".join(self._last_lines) or "it said nothing"

    def _enter(self, state: BrokerState) -> None:
        if state != self._state:
            self._state = state
            self._on_state(state)
