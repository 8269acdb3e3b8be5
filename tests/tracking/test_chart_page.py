import base64
import json
import logging
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from srgan_dist.runs.metric_names import METRICS
from srgan_dist.tracking.chart_page import KIND, KIND_TAG, VIEW_TAG, arrange_page, chart_page, view_state


def state() -> dict[str, Any]:
    packed = view_state().removeprefix("deflate;")
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def visible() -> list[list[str]]:
    return [
        chart.get("selectedMetricKeys", [chart["metricKey"]])
        for chart in state()["compareRunCharts"]
        if not chart["deleted"]
    ]


def test_bicubic_is_in_the_chart_of_psnr_which_is_the_first():
    assert visible()[0] == ["validation/psnr_y", "validation/psnr_y_bicubic"]


def test_only_metrics_that_exist_are_shown_and_none_twice():
    shown = [name for chart in visible() for name in chart]

    assert set(shown) <= {metric.name for metric in METRICS}
    assert len(shown) == len(set(shown))


def test_a_metric_in_anothers_chart_gets_none_of_its_own_from_mlflow():
    own = {chart["metricKey"] for chart in state()["compareRunCharts"]}

    assert {name for chart in visible() for name in chart} <= own


def test_every_section_of_a_metric_has_its_place():
    sections = [section["name"] for section in state()["compareRunSections"]]

    assert sections[:2] == ["validation", "loss"]
    assert {m.name.rpartition("/")[0] or "Model metrics" for m in METRICS} <= set(sections)


def test_the_tag_is_always_the_same_and_short_enough():
    assert view_state() == view_state()
    assert len(view_state()) < 5000


class Client:
    def __init__(self, refuses: bool = False) -> None:
        self.refuses, self.tags = refuses, dict[str, str]()

    def set_experiment_tag(self, experiment: str, name: str, value: str) -> None:
        if self.refuses:
            raise MlflowException("no", 7)
        self.tags[name] = value


def test_an_older_experiment_is_arranged_once():
    client: Any = Client()
    experiment: Any = SimpleNamespace(experiment_id="1", name="mine", tags={})

    arrange_page(client, experiment)
    assert client.tags == {KIND_TAG: KIND, VIEW_TAG: view_state()}

    experiment.tags, client.tags = client.tags, {}
    arrange_page(client, experiment)
    assert not client.tags


def test_a_kind_that_somebody_chose_is_kept():
    client: Any = Client()
    arrange_page(client, SimpleNamespace(experiment_id="1", name="mine", tags={KIND_TAG: "finetuning"}))  # type: ignore

    assert KIND_TAG not in client.tags


def test_who_may_not_change_an_experiment_logs_runs_nevertheless(caplog: pytest.LogCaptureFixture):
    logging.getLogger("srgan_dist").propagate = True
    caplog.set_level(logging.INFO)
    client: Any = Client(refuses=True)

    arrange_page(client, SimpleNamespace(experiment_id="1", name="mine", tags={}))  # type: ignore

    assert "experiment mine stays as it is" in caplog.text


def test_the_link_leads_to_the_charts():
    link = chart_page("http://a:5000/", "7")

    assert link.startswith("http://a:5000/#/experiments/7/runs?")
    assert "compareRunsMode=CHART" in link
    assert f"viewStateShareKey={VIEW_TAG.rpartition('.')[2]}" in link
