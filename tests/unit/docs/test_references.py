"""What is generated is up to date."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.mark.parametrize("script", ["make_settings_reference.py", "make_cli_reference.py"])
def test_a_generated_reference_is_what_the_code_says(script: str) -> None:
    checked = subprocess.run(
        [sys.executable, SCRIPTS / script, "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
