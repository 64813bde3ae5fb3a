"""smdebug.pytorch: record tensors of a PyTorch training, as in `import smdebug.pytorch as smd`.

Importing needs numpy alone; making a hook needs torch. Inside a training job the hook follows the job's configuration:

    hook = smd.get_hook(create_if_not_exists=True)      # None outside of a job
    if hook:
        hook.register_module(model)
        hook.register_loss(criterion)
"""

from smdebug.core.collection import Collection, CollectionKeys
from smdebug.core.modes import ModeKeys as modes  # noqa: N813 - the public name
from smdebug.core.reduction_config import ReductionConfig
from smdebug.core.save_config import SaveConfig, SaveConfigMode
from smdebug.pytorch.hook import Hook
from smdebug.pytorch.singleton import del_hook, get_hook, set_hook
from smdebug.trials import create_trial

__all__ = [
    "Collection",
    "CollectionKeys",
    "Hook",
    "ReductionConfig",
    "SaveConfig",
    "SaveConfigMode",
    "create_trial",
    "del_hook",
    "get_hook",
    "modes",
    "set_hook",
]
