"""What stands before the routes of both HTTP applications: a log, and a bound on bodies."""

from skerry_controller.http_guard.body_limit import BodyLimit
from skerry_controller.http_guard.request_log import RequestLog

__all__ = ["BodyLimit", "RequestLog"]
