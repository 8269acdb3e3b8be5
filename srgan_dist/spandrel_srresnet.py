"""The name that published model cards carry; the module is `models.spandrel_plugin`."""

from srgan_dist.models.spandrel_plugin import register as register
