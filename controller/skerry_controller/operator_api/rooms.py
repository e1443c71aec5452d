"""The routers of all rooms: a room with routes adds a line here."""

from fastapi import APIRouter

from skerry_controller.artifacts.routes import router as artifacts_router
from skerry_controller.blobs.routes import router as blobs_router
from skerry_controller.bundles.routes import router as bundles_router
from skerry_controller.enrollment.routes import router as enrollment_router
from skerry_controller.fleet.routes import router as fleet_router
from skerry_controller.mqtt.routes import router as commands_router
from skerry_controller.operator_api.audit_routes import router as audit_router
from skerry_controller.operator_api.repository_routes import router as repository_router
from skerry_controller.rollouts.routes import router as rollouts_router
from skerry_controller.telemetry.routes import router as telemetry_router
from skerry_controller.workshop.jobs.routes import router as library_router

ROUTERS: tuple[APIRouter, ...] = (
    enrollment_router,
    blobs_router,
    artifacts_router,
    repository_router,
    fleet_router,
    rollouts_router,
    telemetry_router,
    commands_router,
    bundles_router,
    library_router,
    audit_router,
)
"""All of them stand below ``/api/v1`` and need an administrator's token."""
