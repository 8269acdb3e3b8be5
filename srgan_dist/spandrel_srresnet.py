"""Old name of `models.spandrel_plugin`, kept because published model cards refer to it."""

from srgan_dist.models.spandrel_plugin import register as register
