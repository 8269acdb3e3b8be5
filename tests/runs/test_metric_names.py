import re
from pathlib import Path

from srgan_dist.runs.metric_names import METRICS, public_name

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def test_the_reference_page_lists_exactly_the_metrics_of_the_code():
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]*) \| ([^|]*) \|$", PAGE.read_text(), re.MULTILINE)

    assert [(name, unit.strip(), meaning.strip()) for name, unit, meaning in rows] == [tuple(m) for m in METRICS]


def test_names_are_unique():
    assert len({m.name for m in METRICS}) == len(METRICS)


def test_a_metric_without_a_public_name_still_has_a_section():
    assert public_name("pixel") == "loss/generator/pixel"
    assert public_name("own") == "training/own"
