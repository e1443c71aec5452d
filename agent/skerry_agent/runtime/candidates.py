"""Runners on trial, and the models that wait until a trial is over."""

from collections.abc import Callable

from skerry_agent.runtime.loader import Loader
from skerry_agent.runtime.model import ModelFile
from skerry_agent.runtime.places import Claim, Loaded, Place
from skerry_agent.runtime.room import Room
from skerry_agent.runtime.roster import Roster
from skerry_agent.runtime.runner import Runner


class Candidates:
    """Starts and ends candidates.

    Args:
        roster: All runners.
        room: The byte budget.
        loader: Starts runners.
        begin_load: Loads a place again.
    """

    def __init__(
        self, roster: Roster, room: Room, loader: Loader, begin_load: Callable[[Place], object]
    ) -> None:
        self._roster = roster
        self._room = room
        self._loader = loader
        self._begin_load = begin_load

    async def start(self, model: ModelFile, *, make_room: bool, replaces: str | None) -> Runner:
        """Start a candidate; see ``ModelPool.trial``."""
        roster = self._roster
        need = await self._loader.look_at(model)
        claim = Claim(
            model.label,
            need,
            promise=lambda: roster.claims.append(claim),
            counts=False,
            unload=lambda: make_room,
            reason="for_trial",
            replaces=replaces if make_room else None,
        )
        try:
            await self._room.make(claim)
            loaded = await self._loader.start(model, need)
        except BaseException:
            self.bring_back(claim.kept)
            raise
        finally:
            if claim in roster.claims:
                roster.claims.remove(claim)
            roster.changed.set()
        loaded.held = claim.kept
        roster.candidates.append(loaded)
        self._room.measure()
        return loaded.runner

    def find(self, runner: Runner) -> Loaded:
        """The candidate with this runner.

        Raises:
            ValueError: There is none.
        """
        for loaded in self._roster.candidates:
            if loaded.runner is runner:
                return loaded
        raise ValueError("this runner is no candidate of this pool")

    async def discard(self, loaded: Loaded) -> None:
        """End a candidate, and load again what was unloaded for it."""
        roster = self._roster
        roster.candidates.remove(loaded)
        roster.draining.append(loaded)
        try:
            await loaded.runner.stop()
        finally:
            if loaded in roster.draining:
                roster.draining.remove(loaded)
            roster.changed.set()
            self.bring_back(loaded.held)

    def bring_back(self, places: list[Place]) -> None:
        """Let places serve again that waited for a trial."""
        for place in places:
            place.let_in()
            current = self._roster.places.get(place.model.sha256) is place
            if current and not self._roster.closed and place.loaded is None and place.loading is None:
                self._begin_load(place)
        places.clear()
