"""The operators' API: who may use it, and the application that holds the routes of all rooms."""

from skerry_controller.operator_api.admins import Admins, UnauthorizedError
from skerry_controller.operator_api.dependencies import Actor, Services, provide

__all__ = ["Actor", "Admins", "Services", "UnauthorizedError", "provide"]
