import re
from dataclasses import fields

from srgan_dist.runs.metric_names import METRICS, TERMS, public_name
from srgan_dist.training.losses import Weights
from srgan_dist.utils.renamed import RENAMED
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "reference" / "metrics.md"


def test_the_reference_page_lists_exactly_the_metrics_of_the_code():
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]*) \| ([^|]*) \|$", PAGE.read_text(), re.MULTILINE)

    assert [(name, unit.strip(), meaning.strip()) for name, unit, meaning in rows] == [tuple(m) for m in METRICS]


def test_names_are_unique():
    assert len({m.name for m in METRICS}) == len(METRICS)


def test_a_metric_without_a_public_name_still_has_a_section():
    assert public_name("pixel") == "loss/generator/pixel"
    assert public_name("own") == "training/own"


def test_nothing_reads_a_metric_by_the_name_that_it_had_in_earlier_versions():
    earlier = [name for name in RENAMED if name.startswith(("train/", "valid/"))]
    files = [f for folder in ("benchmarks", "docs", "launch", "srgan_dist") for f in (ROOT / folder).rglob("*.*")]
    texts = {f: f.read_text("utf-8") for f in files if f.suffix in (".py", ".md", ".ipynb") and f.name != "renamed.py"}

    quoted = re.compile("|".join(rf"[\"`]{re.escape(name)}[\\\\\"`]" for name in earlier))
    assert not {str(f.relative_to(ROOT)): quoted.findall(text) for f, text in texts.items() if quoted.search(text)}


def test_every_weight_of_the_loss_has_a_term_that_is_plotted_and_a_share_that_is_logged():
    weights = [field.name for field in fields(Weights)]

    assert [term.rpartition("/")[2] for term in TERMS] == weights
    assert {f"gradient_share/{name}" for name in weights} <= {metric.name for metric in METRICS}
