"""Choosing: which model of the library for which device, by what was measured there."""

from skerry_controller.workshop.choosing.advice import Advice, Candidate, Rejection, advise
from skerry_controller.workshop.choosing.expected import Expected
from skerry_controller.workshop.choosing.fleet import DeviceGroup, group_devices, reported_figures
from skerry_controller.workshop.choosing.suggestions import Suggestion, suggest
from skerry_controller.workshop.choosing.wishes import Wishes

__all__ = [
    "Advice",
    "Candidate",
    "DeviceGroup",
    "Expected",
    "Rejection",
    "Suggestion",
    "Wishes",
    "advise",
    "group_devices",
    "reported_figures",
    "suggest",
]
