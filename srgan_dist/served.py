"""Old name of `inference.pyfunc`, kept because MLflow models logged by version 0.1.0 name it as their loader."""

from srgan_dist.inference.pyfunc import _load_pyfunc as _load_pyfunc  # pyright: ignore[reportPrivateUsage]
