"""Rollouts: moving a channel from one version to another, in waves, with gates between them."""

from skerry_controller.rollouts.service import RolloutRequest, Rollouts
from skerry_controller.rollouts.views import DeviceProgress, RolloutView

__all__ = ["DeviceProgress", "RolloutRequest", "RolloutView", "Rollouts"]
