"""The controller's SQL database: tables, sessions, migrations."""

from skerry_controller.database.access import AdminTokenRow, EnrollmentTokenRow
from skerry_controller.database.artifacts import ArtifactFileRow, ArtifactRow
from skerry_controller.database.audit import AuditRow
from skerry_controller.database.base import Base
from skerry_controller.database.channels import AssignmentRow, ChannelRow, ConfigAssignmentRow
from skerry_controller.database.database import Database
from skerry_controller.database.deltas import DeltaRow
from skerry_controller.database.devices import DeviceBootRow, DeviceRow
from skerry_controller.database.records import GoneRangeRow, RecordRow
from skerry_controller.database.rollouts import RolloutRow

__all__ = [
    "AdminTokenRow",
    "ArtifactFileRow",
    "ArtifactRow",
    "AssignmentRow",
    "AuditRow",
    "Base",
    "ChannelRow",
    "ConfigAssignmentRow",
    "Database",
    "DeltaRow",
    "DeviceBootRow",
    "DeviceRow",
    "EnrollmentTokenRow",
    "GoneRangeRow",
    "RecordRow",
    "RolloutRow",
]
