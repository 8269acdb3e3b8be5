"""The page of an experiment in MLflow: which charts it opens with, and its link.

MLflow can share the state of its page: it is stored in a tag of the experiment, and a link names the tag. Without it,
the page has one chart per metric in alphabetical order. Verified with MLflow 3.16 and 3.17; where a version does not
know the tag, its link opens MLflow's own arrangement.
"""

import base64
import json
import logging
import urllib.parse
import uuid
import zlib
from typing import TYPE_CHECKING, Any

from srgan_dist.runs import metric_names as names

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

log = logging.getLogger("srgan_dist")

VIEW = "srgan"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
"""Without this tag, MLflow takes an experiment without runs for one of generative AI."""
_SECTIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "validation": (
        (names.PSNR, names.PSNR_BICUBIC),
        (names.NIQE, names.NIQE_BICUBIC, names.NIQE_HR),
        ("validation/ssim_y",),
    ),
    "loss": ((names.LOSS,), (names.DISCRIMINATOR,)),
    "loss/generator": tuple((term,) for term in names.TERMS),
    "discriminator": ((names.ACCURACY,), ("discriminator/real_logits", "discriminator/fake_logits")),
    "generator": (),
    "learning_rate": (),
    "performance": ((names.CROPS_PER_S,),),
    "gradient_norm": (),
    "gradient_share": (),
    "health": (),
    "steps": (),
    "data": (),
}
"""Charts by section, each with the metrics that it shows together; MLflow adds one for every metric that has none."""
_OPEN = ("validation", "loss", "loss/generator", "discriminator")
"""Sections that are not folded."""
_OWN = {"MODEL_METRICS": "Model metrics", "SYSTEM_METRICS": "System metrics"}
"""MLflow's own sections, for metrics without a section and for those of the machine."""
_COLUMNS = (
    *(f"tags.`{name}`" for name in ("preset", "final/psnr_y", "final/niqe")),
    *(f"params.`{n}`" for n in ("generator.type", "pretrain.steps", "adversarial.steps", "loss.weights.adversarial")),
)
"""Columns of the table of runs; more would push the scores, which MLflow puts last, out of the window."""


def view_state() -> str:
    """Return the tag's value: the state of MLflow's page as JSON, compressed like MLflow does it."""
    charts, sections = list[dict[str, Any]](), list[dict[str, Any]]()
    for name, contents in (_SECTIONS | dict.fromkeys(_OWN.values(), ())).items():
        section = _number(name)
        sections.append({"uuid": section, "name": name, "display": name in _OPEN, "isReordered": True})
        for metrics in contents:
            charts.append(_chart(metrics, section))
            charts += [_chart((metric,), section) | {"deleted": True} for metric in metrics[1:]]
    state = {
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
        "selectedColumns": list(_COLUMNS),
    }
    packed = zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 9)
    return f"deflate;{base64.b64encode(packed).decode()}"


def _chart(metrics: tuple[str, ...], section: str) -> dict[str, Any]:
    title = metrics[0].removeprefix(metrics[0].rpartition("/")[0]).lstrip("/")
    return {
        "type": "LINE", "uuid": _number("+".join(metrics)), "metricSectionId": section, "isGenerated": True,
        "deleted": False, "metricKey": metrics[0], "displayName": title,
        **({"selectedMetricKeys": list(metrics)} if len(metrics) > 1 else {}),
        "xAxisKey": "step", "yAxisKey": "metric", "xAxisScaleType": "linear", "scaleType": "linear",
        "lineSmoothness": 0, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True, "range": {},
        "yAxisExpressions": [], "selectedXAxisMetricKey": "", "ignoreOutliers": False,
    }  # fmt: skip


def _number(name: str) -> str:
    """Return an identifier that is always the same for a name, so that the tag changes only with its content."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))[:8]


def arrange_page(client: "MlflowClient", experiment: "Experiment") -> None:
    """Set the tags of an experiment that arrange its page, unless they are set already.

    Who may log runs need not be allowed to change an experiment: its page stays as it is then.
    """
    from mlflow.exceptions import MlflowException

    wanted = {KIND_TAG: experiment.tags.get(KIND_TAG) or KIND, VIEW_TAG: view_state()}
    for name, value in wanted.items():
        if experiment.tags.get(name) != value:
            try:
                client.set_experiment_tag(experiment.experiment_id, name, value)
            except MlflowException as error:
                log.info("the page of MLflow's experiment %s stays as it is (%s)", experiment.name, error.error_code)
                return


def chart_page(address: str, experiment: str) -> str:
    """Return the link to the charts of an experiment's runs.

    Args:
        address: Of the server, as in `http://127.0.0.1:5000`.
        experiment: Its ID.
    """
    query = {"compareRunsMode": "CHART", "workflowType": "machine_learning", "viewStateShareKey": VIEW}
    return f"{address.rstrip('/')}/#/experiments/{experiment}/runs?{urllib.parse.urlencode(query)}"
