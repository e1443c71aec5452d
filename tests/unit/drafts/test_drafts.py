from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from skerry_agent.drafts import Drafts
from skerry_agent.registry import ModelNotFoundError, Registry
from skerry_agent.runtime import ModelFile
from skerry_agent.settings.model import RuntimeSettings


class FakeRegistry:
    known = {  # noqa: RUF012 - never changed
        "assistant": ("big@2", "b" * 64, "model"),
        "big@2": ("big@2", "b" * 64, "model"),
        "small": ("small@1", "5" * 64, "model"),
        "lora": ("lora@1", "a" * 64, "adapter"),
    }

    async def find(self, name: str) -> Any:
        if name not in self.known:
            raise ModelNotFoundError(f"no model {name}")
        ref, sha256, kind = self.known[name]
        return SimpleNamespace(path=Path(f"/{ref}"), file_sha256=sha256, ref=ref, kind=kind)


BIG = ModelFile(Path("/big@2"), "b" * 64, "big@2")


@pytest.mark.parametrize(
    ("pairs", "draft"),
    [
        ([], None),
        (["assistant=small"], "small@1"),
        (["gone=small", " big@2 = small "], "small@1"),
        (["assistant=gone"], None),
        (["assistant=gone", "big@2=small"], "small@1"),
        (["assistant=lora"], None),
        (["assistant=big@2"], None),
        (["small=assistant"], None),
    ],
)
async def test_names_stand_for_what_they_stand_for_when_a_model_is_loaded(
    pairs: list[str], draft: str | None
) -> None:
    found = await Drafts(pairs, cast("Registry", FakeRegistry())).find(BIG)
    assert (found and found.label) == draft


@pytest.mark.parametrize("pair", ["small", "=small", "assistant=", "a=b=c", ""])
def test_a_setting_that_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(ValidationError, match="is not MODEL=DRAFT"):
        RuntimeSettings(drafts=(pair,))
