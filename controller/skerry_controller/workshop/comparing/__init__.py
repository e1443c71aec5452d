"""Models side by side: one set of tables and charts for terminal, programs and pages."""

from skerry_controller.workshop.comparing.chart_data import Axis, Chart, ChartPoint, Series
from skerry_controller.workshop.comparing.comparison import Comparison, compare
from skerry_controller.workshop.comparing.pareto import pareto_front
from skerry_controller.workshop.comparing.quality import Scale, quality_of, quality_scale
from skerry_controller.workshop.comparing.reading import Reading, Subject
from skerry_controller.workshop.comparing.rows import Row

__all__ = [
    "Axis",
    "Chart",
    "ChartPoint",
    "Comparison",
    "Reading",
    "Row",
    "Scale",
    "Series",
    "Subject",
    "compare",
    "pareto_front",
    "quality_of",
    "quality_scale",
]
