"""Model files by their SHA-256."""

from skerry_controller.blobs.folder import FolderBlobStore
from skerry_controller.blobs.store import BlobNotFoundError, BlobRefusedError, BlobStore, blob_pieces

__all__ = ["BlobNotFoundError", "BlobRefusedError", "BlobStore", "FolderBlobStore", "blob_pieces"]
