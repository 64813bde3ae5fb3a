"""The process of the service: state, queue, object store and application, under uvicorn."""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import uvicorn

from clearsight.core.errors import BadValue, ClearsightError
from clearsight.core.files import read_json, write_text
from clearsight.core.folder_lock import folder_lock
from clearsight.core.machine import cores, process_identity
from clearsight.jobs.client import jobs_of
from clearsight.jobs.listener import LISTENER, inherited_listener, listening_socket
from clearsight.jobs.process import end_with_folder
from clearsight_sagemaker.cloud.notifications import send
from clearsight_sagemaker.endpoints.controller import EndpointSettings
from clearsight_sagemaker.endpoints.hosted_endpoints import HostedEndpoints
from clearsight_sagemaker.jobs.queue import JobQueue
from clearsight_sagemaker.protocols.service_models import service_model
from clearsight_sagemaker.resources.processing_jobs import PROCESSING
from clearsight_sagemaker.resources.training_jobs import complete_creations
from clearsight_sagemaker.resources.transform_jobs import TRANSFORM
from clearsight_sagemaker.s3.store import ObjectStore
from clearsight_sagemaker.scaling.target_tracking import scale_variants
from clearsight_sagemaker.service.app import ServiceApp
from clearsight_sagemaker.state.home import LocalAccount, ServiceHome
from clearsight_sagemaker.state.resource_table import ResourceTable
from clearsight_sagemaker.state.service_state import PROCESSING_JOB, TRAINING_JOB, TRANSFORM_JOB, ServiceState
from clearsight_sagemaker.training.objects import JobObjects, Objects
from clearsight_sagemaker.training.remote_objects import RemoteObjects
from clearsight_sagemaker.tuning.controller import tuning_controller

LOG = logging.getLogger("clearsight.sagemaker")

_MOST_CONNECTIONS = 512  # requests beyond them get 503, which clients repeat
_DRAIN_SECONDS = 10
# Variables of the service that the processes of jobs need, and those that scripts get too.
_PROCESS_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_SCRIPT_VARIABLES = ("TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME", "WANDB_MODE", "OMP_NUM_THREADS")
_SCRIPT_PREFIXES = ("PIP_", "CLEARSIGHT_", "CUDA_")
# Of the service itself: by the first, the supervisor finds its process.
_SERVICE_VARIABLES = ("CLEARSIGHT_JOB", LISTENER, "CLEARSIGHT_SAGEMAKER_HOME")


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """Options of a service. port: 0 for any free one.  max_jobs: at the same time, 0 for the number of cores.

    state_url: of the table, "" for SQLite in the home.  job_environment: variables for the scripts of jobs.
    job_command, processing_command, transform_command: what runs a job; the folder of the job is appended.
    s3_endpoint: address of an S3 that is used in the place of the service's own, with the keys of the environment.
    strict_endpoints: fail an endpoint whose model cannot be loaded; it comes into service otherwise, as in SageMaker,
    and answers with the reason.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int = 0
    max_jobs: int = 0
    require_signature: bool = False
    state_url: str = ""
    s3_endpoint: str = ""
    strict_endpoints: bool = False
    job_environment: Mapping[str, str] = field(default_factory=dict)
    job_command: Sequence[str] = (sys.executable, "-P", "-m", "clearsight_sagemaker.training")
    processing_command: Sequence[str] = (sys.executable, "-P", "-m", "clearsight_sagemaker.processing")
    transform_command: Sequence[str] = (sys.executable, "-P", "-m", "clearsight_sagemaker.transform")

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65_536:
            raise BadValue(f"--port {self.port}", "must be from 0 to 65535")
        if self.max_jobs < 0:
            raise BadValue(f"--max-jobs {self.max_jobs}", "must be 1 or more, or 0 for the number of cores")
        if self.s3_endpoint and not self.s3_endpoint.startswith(("http://", "https://")):
            raise BadValue(f"--s3-endpoint {self.s3_endpoint}", "must begin with http:// or https://")
        if not self.require_signature and not is_loopback(self.host):
            problem = "without signatures the service listens on this machine alone"
            raise BadValue(f"--host {self.host}", problem, fix="Add --require-signature.")

    def write(self) -> None:
        """Write the options into the home, for the process that the supervisor starts: words of a command line are
        read by every user of the machine, and databases and jobs may have passwords.
        """
        values = {**asdict(self), "home": str(self.home), "job_command": list(self.job_command)}
        values |= {name: list(values[name]) for name in ("processing_command", "transform_command")}
        write_text(_options_path(self.home), json.dumps(values, indent=2) + "\n", private=True)

    @classmethod
    def read(cls, home: Path) -> ServiceOptions:
        """Return the options that `write` wrote; raises ClearsightError where they are missing or damaged."""
        values = read_json(_options_path(home))
        return cls(**{**values, "home": home})


def _options_path(home: Path) -> Path:
    return home / "options.json"


def is_loopback(host: str) -> bool:
    """Return True for an address that other machines cannot reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def service_state(options: ServiceOptions, endpoint_url: str, environment: Mapping[str, str]) -> Iterator[ServiceState]:
    """Yield the state of a service with its queues at work. environment: of this process."""
    home = ServiceHome(options.home)
    home.create()
    table = ResourceTable(options.state_url or home.state_url())
    commands = {
        TRAINING_JOB: options.job_command,
        PROCESSING_JOB: options.processing_command,
        TRANSFORM_JOB: options.transform_command,
    }
    queues = {
        kind: JobQueue(
            table,
            home,
            kind=kind,
            command=command,
            most=options.max_jobs or cores(),
            environment=_chosen(environment, (*_PROCESS_VARIABLES, *_SCRIPT_VARIABLES)),
        )
        for kind, command in commands.items()
    }
    account, file_lock = home.account(environment), threading.Lock()
    state = ServiceState(
        home=home,
        account=account,
        table=table,
        queues=queues,
        endpoint_url=endpoint_url,
        endpoints=HostedEndpoints(table, home, _objects(options, home, account), file_lock),
        file_lock=file_lock,
        s3_endpoint=options.s3_endpoint,
        job_environment={**_chosen(environment, _SCRIPT_VARIABLES), **options.job_environment},
    )
    complete_creations(state)
    PROCESSING.complete_creations(state)
    TRANSFORM.complete_creations(state)
    with jobs_of(home.processes):
        pass  # its table is made here, before several threads open it
    for queue in queues.values():
        queue.start()
    settings = EndpointSettings(
        facts=state.service_facts,
        environment=_chosen(environment, (*_PROCESS_VARIABLES, *_SCRIPT_VARIABLES)),
        strict=options.strict_endpoints,
    )
    state.endpoints.start(settings, notify=partial(send, state), scale=partial(scale_variants, state))
    try:
        with tuning_controller(state):
            yield state
    finally:
        state.endpoints.close()
        for queue in queues.values():
            queue.close()
        table.close()


def _objects(options: ServiceOptions, home: ServiceHome, account: LocalAccount) -> Objects:
    """Return the objects that the service itself reads and writes for endpoints."""
    if not options.s3_endpoint:
        return JobObjects(home.objects)
    keys = (account.access_key, account.secret_key, account.region)
    return RemoteObjects(options.s3_endpoint, *keys, home.folder / "remote-objects")


def serve(options: ServiceOptions, environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or Ctrl-C; raises ClearsightError where another process serves the home.

    The process is killed once the home is removed.
    """
    service_model("sagemaker")  # before the port is open: without botocore nothing works
    home = ServiceHome(options.home)
    home.create()
    end_with_folder(home.folder)
    with folder_lock(home.folder / "service.lock", "home"), _listener(options, environment) as listener:
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        with service_state(options, _local_url(url, options.host), environment) as state:
            store = ObjectStore(home.objects)
            try:
                _write_address(state, url, options)
                LOG.warning("the service listens on %s; its home is %s", url, home.folder)
                app = ServiceApp(state, store, require_signature=options.require_signature)
                config = uvicorn.Config(
                    app,
                    log_config=None,
                    access_log=False,  # presigned addresses are secrets
                    lifespan="off",
                    limit_concurrency=_MOST_CONNECTIONS,
                    timeout_graceful_shutdown=_DRAIN_SECONDS,
                    server_header=False,
                )
                uvicorn.Server(config).run(sockets=[listener])
            finally:
                store.close()


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a listening socket; raises ClearsightError where the port is taken."""
    try:
        listener = listening_socket(host, port)
    except OSError as error:
        problem = f"it cannot be listened on ({error.strerror})"
        raise ClearsightError(f"--port {port}", problem, fix="Choose another one.") from None
    with listener:
        yield listener


@contextmanager
def _listener(options: ServiceOptions, environment: Mapping[str, str]) -> Iterator[socket.socket]:
    """Yield the socket that the supervisor keeps for this process, or one of its own."""
    if listener := inherited_listener(environment, options.host):
        with listener:
            yield listener
    else:
        with listening(options.host, options.port) as listener:
            yield listener


def _local_url(url: str, host: str) -> str:
    """Return the address at which jobs on this machine reach the service."""
    return url.replace(f"//{host}:", "//127.0.0.1:") if host == "0.0.0.0" else url


def _write_address(state: ServiceState, url: str, options: ServiceOptions) -> None:
    address = {
        "url": url,
        "host": options.host,
        "port": int(url.rpartition(":")[2]),
        "process": process_identity(),
        "require_signature": options.require_signature,
        "s3_endpoint": options.s3_endpoint,
        "state_url": options.state_url,  # for commands while it does not run; the file is private
        "max_jobs": state.training_jobs.most,
    }
    write_text(state.home.address_file, json.dumps(address, indent=2) + "\n", private=True)


def _chosen(environment: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if (name in names or name.startswith(_SCRIPT_PREFIXES)) and name not in _SERVICE_VARIABLES
    }
