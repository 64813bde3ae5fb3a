"""activate(): use the local service from a running program, such as a notebook."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight_sagemaker.clients.environment import HOOK, client_variables
from clearsight_sagemaker.service.lifecycle import start_service
from clearsight_sagemaker.service.server import ServiceOptions
from clearsight_sagemaker.state.home import ServiceHome, default_home

_MODULE = "clearsight_sagemaker_import_hook"


def activate_client(home: str | Path | None = None, *, fast_polling: bool = False) -> str:
    """Let every AWS client that this process creates from now on use the local service; return its address.

    home: of the service, which is started where it does not run; by default that of `clearsight sagemaker start`.
    fast_polling: let the SDK ask twice a second for the state of a job.
    Raises ClearsightError where the service does not start.
    """
    # The one place in which a library changes its process: clients read their settings there.
    environment = os.environ
    folder = ServiceHome(Path(home) if home is not None else default_home(environment))
    address = start_service(ServiceOptions(home=folder.folder), environment)
    variables = client_variables(folder, address.url, environment, fast_polling=fast_polling)
    for name, value in variables.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    _install_hook()
    return address.url


def _install_hook() -> None:
    if _MODULE in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(_MODULE, HOOK / "sitecustomize.py")
    if spec is None or spec.loader is None:
        raise ClearsightError(str(HOOK), "the import hook cannot be loaded", fix="Install clearsight again.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    spec.loader.exec_module(module)
    module.install()
