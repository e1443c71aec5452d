"""How models fare, as a test says."""

from skerry_agent.runtime import HealthCounts


class FakeHealth:
    """What was counted of model files, and the temperature."""

    def __init__(self) -> None:
        self.by_file: dict[str, HealthCounts] = {}
        self.temperature: float | None = None

    def counts(self, file_sha256: str) -> HealthCounts:
        return self.by_file.get(file_sha256, HealthCounts())

    def celsius(self) -> float | None:
        return self.temperature
