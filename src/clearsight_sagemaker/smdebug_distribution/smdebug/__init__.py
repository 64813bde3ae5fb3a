"""smdebug: the names of Amazon SageMaker Debugger's library, served on the user's own machine.

A distribution of its own, version 1.0.34+clearsight: it needs numpy alone. Scripts record with `smdebug.pytorch`,
notebooks read with `smdebug.trials`, `smdebug.rules` and `smdebug.profiler`. The files are those of smdebug 1.0.34.
"""

from smdebug.core.collection import CollectionKeys
from smdebug.core.modes import ModeKeys as modes  # noqa: N813 - the public name
from smdebug.core.reduction_config import ReductionConfig
from smdebug.core.save_config import SaveConfig, SaveConfigMode

__version__ = "1.0.34+clearsight"

__all__ = ["CollectionKeys", "ReductionConfig", "SaveConfig", "SaveConfigMode", "__version__", "modes"]
