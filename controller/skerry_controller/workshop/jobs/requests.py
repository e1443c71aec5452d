"""What can be asked for as a job: bodies of the API."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

_MAX_TEXT = 2048


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImportRequest(_Request):
    """Bring a model into the library. Files of the controller's machine are no source here.

    A file that was sent to ``/library/uploads`` before is ``upload:SHA256``.
    """

    kind: Literal["import"]
    source: str = Field(max_length=_MAX_TEXT, description="As 'skerry model import' takes it.")
    ref: str | None = Field(default=None, description="NAME@VERSION; else made of the file's name.")
    license: str | None = Field(default=None, max_length=128)
    sha256: str | None = None
    address: str | None = Field(
        default=None, max_length=_MAX_TEXT, description="Of an upload: where the file was."
    )

    @property
    def subject(self) -> str:
        """What it is about."""
        return self.address or self.source


class QuantizeRequest(_Request):
    """Make a smaller model of one in the library."""

    kind: Literal["quantize"]
    model: str = Field(description="NAME@VERSION, or NAME for its newest.")
    type: str = Field(description="Such as Q4_0 or Q4_K_M.")
    ref: str | None = Field(default=None, description="NAME@VERSION of the result.")
    threads: int = Field(default=0, ge=0, le=1024)
    keep_output: bool = False
    pure: bool = False
    embedding_type: str | None = None
    force: bool = False

    @property
    def subject(self) -> str:
        """What it is about."""
        return f"{self.model} to {self.type}"


JobRequest: TypeAlias = Annotated[ImportRequest | QuantizeRequest, Field(discriminator="kind")]
