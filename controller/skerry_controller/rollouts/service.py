import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from skerry_controller.audit import note
from skerry_controller.clock import Clock
from skerry_controller.database import AssignmentRow, Database, RolloutRow
from skerry_controller.errors import ConflictError, NotFoundError
from skerry_controller.fleet import DesiredPublisher
from skerry_controller.fleet.channels import active_rollout, find_channel, find_version
from skerry_controller.rollouts.applying import apply_action
from skerry_controller.rollouts.loading import LoadedRollout, load_rollout
from skerry_controller.rollouts.planner import Action, plan, standing
from skerry_controller.rollouts.shares import Share, parse_waves
from skerry_controller.rollouts.views import RolloutView, is_window_open, rollout_view
from skerry_controller.rollouts.windows import parse_duration, parse_window

log = structlog.get_logger(__name__)

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_ID_LENGTH = 8
_MAX_STEPS_PER_TICK = 100
_SHORTEST_INTERVAL_S = 0.1


@dataclass(frozen=True)
class RolloutRequest:
    """What an operator asks for, as text; see the command's help.

    Attributes:
        channel: The channel to move.
        to: ``NAME@VERSION`` of a published model.
        adapters: ``NAME@VERSION`` of published adapters on it.
        waves: Cumulative counts or percentages; the last is 100%.
        max_failures: How many assigned devices may fail: a count or a percentage.
        soak: How long each finished wave must stay good.
        window: When devices may be assigned: a cron expression (UTC) and a duration.
    """

    channel: str
    to: str
    waves: str = "1,10%,100%"
    max_failures: str = "5%"
    soak: str = "10m"
    window: str | None = None
    adapters: Sequence[str] = ()


class Rollouts:
    """Moves channels from one version to another.

    :meth:`tick` runs the planner over what is stored, so it may be called at any time and by anybody; the
    rest only changes rows. One instance runs at a time.
    """

    def __init__(self, database: Database, publisher: DesiredPublisher, clock: Clock) -> None:
        self._database = database
        self._publisher = publisher
        self._clock = clock
        self._ticking = asyncio.Lock()
        self._woken = asyncio.Event()

    async def create(self, request: RolloutRequest, *, actor: str) -> RolloutView:
        """Start a rollout. On a channel that nobody follows it ends at once, and says so.

        Raises:
            UsageError: A part of the request is malformed, or the artifact is no model.
            NotFoundError: There is no such channel or artifact.
            ConflictError: Another rollout is under way on the channel.
        """
        waves = parse_waves(request.waves)
        row = RolloutRow(
            id="r-" + "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH)),
            channel=request.channel,
            waves=[str(wave) for wave in waves],
            max_failures=str(Share.parse(request.max_failures)),
            soak_s=parse_duration(request.soak),
            window=None if request.window is None else parse_window(request.window).text,
            state="running",
            reason=None,
            wave=0,
            wave_done_at=None,
            created_at=self._clock(),
            finished_at=None,
        )
        async with self._database.transaction() as session:
            channel = await find_channel(session, request.channel)
            path, adapter_paths = await find_version(session, request.to, request.adapters)
            other = await active_rollout(session, request.channel)
            if other is not None:
                raise ConflictError(
                    f"rollout {other} is under way on {request.channel}: "
                    f"wait for it, or 'skerry rollout abort {other}'"
                )
            row.to_target_path, row.from_target_path = path, channel.current_target_path
            row.to_adapter_paths = adapter_paths
            row.from_adapter_paths = list(channel.current_adapter_paths)
            session.add(row)
            more = {"adapters": list(request.adapters)} if request.adapters else {}
            self._note(session, row, actor, "rollout_created", to=request.to, waves=request.waves, **more)
        await self.tick()
        return await self.show(row.id)

    async def list(self, channel: str | None = None) -> list[RolloutView]:
        """Rollouts, the newest first."""
        query = select(RolloutRow).order_by(RolloutRow.created_at.desc(), RolloutRow.id)
        if channel is not None:
            query = query.where(RolloutRow.channel == channel)
        now = self._clock()
        async with self._database.session() as session:
            rows = (await session.scalars(query)).all()
            return [rollout_view(row, await load_rollout(session, row), now) for row in rows]

    async def show(self, rollout: str) -> RolloutView:
        """One rollout.

        Raises:
            NotFoundError: There is no such rollout.
        """
        async with self._database.session() as session:
            row = await _find(session, rollout)
            return rollout_view(row, await load_rollout(session, row), self._clock())

    async def pause(self, rollout: str, *, actor: str) -> RolloutView:
        """Assign no further device; devices that are under way go on.

        Raises:
            NotFoundError: There is no such rollout.
            ConflictError: It does not run.
        """
        async with self._database.transaction() as session:
            row = await _find(session, rollout, states=("running",))
            row.state, row.reason = "paused", f"paused by {actor}"
            self._note(session, row, actor, "rollout_paused")
        return await self.show(rollout)

    async def resume(self, rollout: str, *, actor: str) -> RolloutView:
        """Go on; devices that failed get a further attempt.

        Raises:
            NotFoundError: There is no such rollout.
            ConflictError: It is not paused.
        """
        async with self._database.transaction() as session:
            row = await _find(session, rollout, states=("paused",))
            loaded = await load_rollout(session, row)
            retried = await _retry_failed(session, row, loaded)
            row.state, row.reason, row.wave_done_at = "running", None, None
            self._note(session, row, actor, "rollout_resumed", retried=retried)
        await self.tick(refresh=True)
        return await self.show(rollout)

    async def abort(self, rollout: str, *, actor: str) -> RolloutView:
        """End it; its devices go back to the channel's version (if it had none, they are left alone).

        Raises:
            NotFoundError: There is no such rollout.
            ConflictError: It is over.
        """
        async with self._database.transaction() as session:
            row = await _find(session, rollout, states=("running", "paused"))
            row.state, row.reason, row.finished_at = "aborted", f"aborted by {actor}", self._clock()
            self._note(session, row, actor, "rollout_aborted")
        await self._publisher.refresh()
        return await self.show(rollout)

    def wake(self) -> None:
        """Something changed: the next tick should come soon."""
        self._woken.set()

    async def run(self, interval_s: float = 1.0) -> None:
        """Tick whenever something changed, and each interval for the clock's sake. Never ends by itself."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self.tick()
            except Exception as error:
                # A full disk today, or a row that nobody foresaw, is no reason to stop for ever, or to take
                # the controller down: all that counts is stored.
                log.exception("rollout_tick_failed", error=str(error))
                await asyncio.sleep(interval_s)
            await asyncio.sleep(_SHORTEST_INTERVAL_S)  # a storm of reports is looked at once

    async def tick(self, *, refresh: bool = False) -> None:
        """Run the planner on every rollout that runs, and publish what changed.

        Args:
            refresh: Publish in any case.
        """
        async with self._ticking:
            query = select(RolloutRow.id).where(RolloutRow.state == "running")
            async with self._database.session() as session:
                running = (await session.scalars(query.order_by(RolloutRow.id))).all()
            changed = refresh
            for rollout in running:
                changed |= await self._advance(rollout)
            if changed:
                await self._publisher.refresh()

    async def _advance(self, rollout: str) -> bool:
        """Take all steps that the planner gives now; whether there was one."""
        async with self._database.session() as session:
            row = await session.get_one(RolloutRow, rollout)
            if self._step(row, await load_rollout(session, row)) is None:
                return False
        async with self._database.transaction() as session:
            row = await session.get_one(RolloutRow, rollout)
            for _ in range(_MAX_STEPS_PER_TICK):
                loaded = await load_rollout(session, row)
                action = self._step(row, loaded)
                if action is None:
                    break
                await apply_action(session, row, action, loaded, now=self._clock())
                await session.flush()
        return True

    def _step(self, row: RolloutRow, loaded: LoadedRollout) -> Action | None:
        now = self._clock().timestamp()
        return plan(loaded.plan, loaded.devices, now=now, window_open=is_window_open(row, now))

    def _note(
        self, session: AsyncSession, row: RolloutRow, actor: str, action: str, **detail: object
    ) -> None:
        note(
            session,
            at=self._clock(),
            actor=actor,
            action=action,
            subject=row.id,
            channel=row.channel,
            **detail,
        )


async def _find(session: AsyncSession, rollout: str, *, states: tuple[str, ...] = ()) -> RolloutRow:
    row = await session.get(RolloutRow, rollout)
    if row is None:
        raise NotFoundError(f"there is no rollout {rollout!r}: 'skerry rollout list' shows them")
    if states and row.state not in states:
        raise ConflictError(
            f"rollout {rollout} is {row.state}; only one that is {' or '.join(states)} can be"
        )
    return row


async def _retry_failed(session: AsyncSession, row: RolloutRow, loaded: LoadedRollout) -> list[str]:
    failed = [view for view in loaded.devices if standing(loaded.plan, view) == "failed"]
    for view in failed:
        assignment = await session.get_one(AssignmentRow, (view.device, row.channel))
        assignment.attempt = loaded.next_attempts[view.device]
    return sorted(view.device for view in failed)
