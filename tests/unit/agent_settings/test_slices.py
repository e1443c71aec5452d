from pathlib import Path
from typing import Any

import pytest

from skerry_agent.settings.model import RuntimeSettings
from skerry_agent.settings.slices import runner_options, runtime_limits

READ_BY_OTHERS = {"pinned", "drafts"}


@pytest.mark.parametrize("name", sorted(set(RuntimeSettings.model_fields) - READ_BY_OTHERS))
def test_each_setting_of_the_runtime_reaches_it(name: str) -> None:
    value = getattr(RuntimeSettings(), name)
    other: Any = not value if isinstance(value, bool) else "client" if isinstance(value, str) else value + 1
    changed = RuntimeSettings(**{name: other})
    folder = Path("/prefixes")
    before = (runner_options(RuntimeSettings(), folder), runtime_limits(RuntimeSettings()))
    assert (runner_options(changed, folder), runtime_limits(changed)) != before
