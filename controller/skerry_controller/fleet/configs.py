from dataclasses import dataclass

from sqlalchemy import func, select

from skerry_controller.audit import note
from skerry_controller.clock import Clock
from skerry_controller.database import ConfigAssignmentRow, Database
from skerry_controller.errors import NotFoundError
from skerry_controller.fleet.channels import find_artifact
from skerry_protocol.names import parse_target_path
from skerry_protocol.selectors import Selector


@dataclass(frozen=True, slots=True)
class ConfigAssignment:
    """A config bundle for the devices that a selector matches; a higher position wins."""

    id: int
    selector: str
    bundle: str
    position: int


class ConfigAssignments:
    """Which config bundles go to which devices.

    One selector has one version of a bundle: assigning another version of the same name replaces it in
    its place.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def assign(self, bundle: str, *, selector: str, actor: str) -> ConfigAssignment:
        """Give a bundle to the devices that match; whoever calls this has the fleet refreshed.

        Raises:
            NameSyntaxError: The selector or ``NAME@VERSION`` is malformed.
            NotFoundError: The bundle is not published.
            UsageError: It is no config bundle.
        """
        canonical = str(Selector.parse(selector))
        async with self._database.transaction() as session:
            artifact = await find_artifact(session, bundle, kind="config")
            same = select(ConfigAssignmentRow).where(ConfigAssignmentRow.selector == canonical)
            row = next(
                (
                    row
                    for row in await session.scalars(same)
                    if parse_target_path(row.target_path)[1].name == artifact.name
                ),
                None,
            )
            if row is None:
                last = await session.scalar(select(func.max(ConfigAssignmentRow.position)))
                row = ConfigAssignmentRow(
                    selector=canonical, target_path=artifact.target_path, position=(last or 0) + 1
                )
                session.add(row)
            else:
                row.target_path = artifact.target_path
            await session.flush()
            note(
                session,
                at=self._clock(),
                actor=actor,
                action="config_assigned",
                subject=bundle,
                selector=canonical,
            )
            return _view(row)

    async def list(self) -> list[ConfigAssignment]:
        """All assignments in the order of application."""
        query = select(ConfigAssignmentRow).order_by(ConfigAssignmentRow.position, ConfigAssignmentRow.id)
        async with self._database.session() as session:
            return [_view(row) for row in await session.scalars(query)]

    async def remove(self, assignment: int, *, actor: str) -> ConfigAssignment:
        """Take an assignment back; whoever calls this has the fleet refreshed.

        Raises:
            NotFoundError: There is no such assignment.
        """
        async with self._database.transaction() as session:
            row = await session.get(ConfigAssignmentRow, assignment)
            if row is None:
                raise NotFoundError(
                    f"there is no config assignment {assignment}: 'skerry config list' shows them"
                )
            view = _view(row)
            await session.delete(row)
            note(
                session,
                at=self._clock(),
                actor=actor,
                action="config_unassigned",
                subject=view.bundle,
                selector=view.selector,
            )
        return view


def _view(row: ConfigAssignmentRow) -> ConfigAssignment:
    return ConfigAssignment(row.id, row.selector, str(parse_target_path(row.target_path)[1]), row.position)
