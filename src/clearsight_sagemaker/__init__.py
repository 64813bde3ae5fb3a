"""A local service that speaks the APIs of Amazon SageMaker, and results of clearsight in SageMaker's formats.

The package builds on `clearsight.core`, `clearsight.workflow`, `clearsight.serving` and `clearsight.jobs`; nothing in
`clearsight` imports it.
"""

from __future__ import annotations

from pathlib import Path


def activate(home: str | Path | None = None, *, fast_polling: bool = False) -> str:
    """Let every AWS client that this process creates from now on use the local service; return its address.

    home: of the service, which is started where it does not run; by default that of `clearsight sagemaker start`.
    fast_polling: let the SDK ask twice a second for the state of a job, in place of every 10 to 30 seconds.
    Raises ClearsightError where the service does not start.
    """
    # Imported here: other parts of the package need neither a web server nor a database.
    from clearsight_sagemaker.clients.activation import activate_client

    return activate_client(home, fast_polling=fast_polling)
