"""Enrollment: one-time tokens, and new devices that come with one."""

from skerry_controller.enrollment.errors import EnrollmentRefusedError
from skerry_controller.enrollment.service import EnrollmentService
from skerry_controller.enrollment.settings import EnrollmentSettings
from skerry_controller.enrollment.tokens import CreatedToken, EnrollmentTokens, TokenInfo

__all__ = [
    "CreatedToken",
    "EnrollmentRefusedError",
    "EnrollmentService",
    "EnrollmentSettings",
    "EnrollmentTokens",
    "TokenInfo",
]
