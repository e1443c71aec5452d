"""Artifacts: described and chunked where the file is, published and listed at the controller."""

from skerry_controller.artifacts.service import ArtifactInfo, ArtifactService, Verification

__all__ = ["ArtifactInfo", "ArtifactService", "Verification"]
