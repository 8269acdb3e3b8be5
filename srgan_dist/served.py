"""The name that MLflow models logged before the move into chapters carry; the module is `inference.pyfunc`."""

from srgan_dist.inference.pyfunc import _load_pyfunc as _load_pyfunc  # pyright: ignore[reportPrivateUsage]
