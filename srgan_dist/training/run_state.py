"""Where a run stands, and the directory that it is kept in."""

from srgan_dist.runs.run_dir import RunDir
from srgan_dist.training.config import TrainConfig, read_run_config
from srgan_dist.utils.serialization import to_dict


def open_run_dir(config: TrainConfig, writes: bool) -> RunDir:
    """The run's directory, new or to be resumed.

    Raises:
        ValueError: it holds a run with another configuration.
    """
    before = read_run_config(config.run_dir)
    return RunDir(config.run_dir, to_dict(config), to_dict(before) if before else None, writes)
