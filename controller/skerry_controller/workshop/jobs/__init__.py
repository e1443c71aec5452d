"""The workshop at the controller: its library behind the operator API, and jobs that change it."""

from skerry_controller.workshop.jobs.keeper import LibraryKeeper
from skerry_controller.workshop.jobs.service import JobLimits, JobService

__all__ = ["JobLimits", "JobService", "LibraryKeeper"]
