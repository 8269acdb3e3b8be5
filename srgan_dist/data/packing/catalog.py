"""The sources of `srgan pack`, by name."""

from srgan_dist.data.packing.div2k import Div2kSource
from srgan_dist.data.packing.sources import CelebaSource, FolderSource, SampleSource

AnySource = SampleSource | FolderSource | Div2kSource | CelebaSource
SOURCES: dict[str, type[SampleSource] | type[FolderSource] | type[Div2kSource] | type[CelebaSource]] = {
    "sample": SampleSource,
    "folder": FolderSource,
    "div2k": Div2kSource,
    "celeba": CelebaSource,
}
