"""clearsight deploy: a model behind an endpoint that outlives the command."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clearsight.cli.remote import RemoteOptions, check_no_options, check_unused, print_remote
from clearsight.cli.shared import AsJson, Model, command_app, latest_of
from clearsight.core.format import several
from clearsight.workflow.display.terminal import Terminal

if TYPE_CHECKING:
    from clearsight.workflow.deployment.versions import ModelSource

EPILOG = """The endpoint serves a copy of the model until clearsight undeploy. Its address stays the same.

Examples:
  clearsight deploy runs/first --name dogs
  clearsight deploy last --name dogs --workers auto --port 8080
  clearsight deploy runs/first --name dogs --variant b=runs/second:0.1 --shadow c=runs/third
  clearsight deploy model.tar.gz --name dogs --trust
  clearsight deploy runs/first --name dogs --on ray --min-workers 1 --max-workers 4
  clearsight deploy runs/first --name dogs --on sagemaker --remote instance_type=ml.m5.large
  clearsight predict endpoint:dogs cat.jpg

MODEL is a run, a bundle, or a folder or archive with code/inference.py (model_fn, input_fn, predict_fn, output_fn) and
its own code/requirements.txt.
"""


def deploy(
    model: Model,
    name: Annotated[str, typer.Option(help="name of the endpoint: letters, digits and hyphens")],
    workers: Annotated[str, typer.Option(help="processes that answer: a number, or auto for one per two cores")] = "1",
    min_workers: Annotated[int | None, typer.Option(help="of a number that follows the load", min=1)] = None,
    max_workers: Annotated[int | None, typer.Option(help="of a number that follows the load", min=1)] = None,
    runtime: Annotated[
        str, typer.Option(help="auto (the choice of clearsight benchmark, else onnx), or as of clearsight serve")
    ] = "auto",
    threads: Annotated[int, typer.Option(help="cores for inference of each worker; 0 for its share", min=0)] = 0,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 accepts other machines")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on; 0 uses a free one", min=0, max=65535)] = 0,
    token: Annotated[
        str, typer.Option(help="secret that clients must send, of 16 characters or more", envvar="CLEARSIGHT_TOKEN")
    ] = "",
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="origin of web pages that may use it; * is any")
    ] = None,
    on: Annotated[
        str,
        typer.Option(
            metavar="PLACE",
            help="ray, or the address of a Ray cluster (ray://host:port): replicas of Ray Serve; or sagemaker",
        ),
    ] = "",
    remote: RemoteOptions = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MODEL:SHARE", help="another model for a share of the requests: b=runs/second:0.1"),
    ] = None,
    shadow: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MODEL", help="another model that gets copies of the requests, to compare"),
    ] = None,
    entry_point: Annotated[
        str, typer.Option(metavar="FILE", help="file in code/ that serves the model, with model_fn, input_fn, ...")
    ] = "",
    trust: Annotated[
        bool, typer.Option("--trust", help="run the code that comes with a model (code/inference.py, requirements.txt)")
    ] = False,
    capture: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="write requests and responses there, as JSON lines")
    ] = None,
    capture_percent: Annotated[float, typer.Option(help="of the requests that are captured", min=0, max=100)] = 100.0,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="certificate (PEM), for HTTPS")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="its key (PEM)")] = None,
    max_memory: Annotated[
        str, typer.Option(metavar="SIZE", help="such as 2GB: a worker that holds more is replaced; none by default")
    ] = "",
    as_json: AsJson = False,
) -> int:
    """Serve a model from background processes that are watched, replaced and restarted, and return."""
    from clearsight.workflow.deployment.deploy import DeployOptions, capture_options, deploy_to_ray
    from clearsight.workflow.deployment.deploy import deploy as deploy_model
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.remote.submit import deploy_on, is_remote, parse_options

    terminal = Terminal(as_json=as_json)
    if is_remote(on):
        given: dict[str, object] = {
            "--variant": variant,
            "--shadow": shadow,
            "--capture": capture,
            "--tls-cert": tls_cert,
        }
        given |= {"--token": token, "--max-memory": max_memory, "--entry-point": entry_point, "--port": port}
        check_unused({**given, "--min-workers": min_workers, "--max-workers": max_workers}, on)
        return print_remote(terminal, deploy_on(on, model, name, parse_options(remote or ()), terminal.print))
    check_no_options(remote)
    options = DeployOptions(
        host=host,
        port=port,
        runtime=runtime,
        threads=threads,
        workers=worker_range(workers, min_workers, max_workers),
        origins=tuple(allow_origin or ()),
        token=token,
        entry_point=entry_point,
        variants=model_sources(variant, shadow),
        capture=capture_options(capture, capture_percent / 100),
        tls=tls_files(tls_cert, tls_key),
        memory=memory_limit(max_memory),
        trust=trust,
    )
    # A token belongs to the endpoint's own file, not to the environment of its processes.
    environment = {key: value for key, value in os.environ.items() if key != "CLEARSIGHT_TOKEN"}
    terminal.print(f"starting {name}")
    home = Paths.of(os.environ).home
    if on:
        found = deploy_to_ray(model, name, options, address=on, home=home)
    else:
        found = deploy_model(model, name, options, home=home, environment=environment)
    lines = [
        f"serving  {found.model} on {found.url} with {several(found.workers, 'worker')}",
        *(f"         {status.name}: {status.model}, {share_text(status.share)}" for status in found.variants),
        f"try      clearsight predict endpoint:{name} IMAGE.jpg",
        f"end      clearsight undeploy {name}",
    ]
    terminal.print_result(found.to_json(), lines)
    return 0


def model_sources(variants: list[str] | None, shadows: list[str] | None) -> tuple[ModelSource, ...]:
    """Return what --variant and --shadow name. Raises BadValue."""
    from clearsight.workflow.deployment.versions import parse_variant

    newest = latest_of("runs", with_model=True)
    sources = [parse_variant(text, shadow=False) for text in variants or ()]
    sources += [parse_variant(text, shadow=True) for text in shadows or ()]
    return tuple(replace(source, path=Path(newest(source.path))) for source in sources)


def tls_files(certificate: Path | None, key: Path | None) -> tuple[str, ...]:
    """Return both files, or none. Raises BadValue for one alone."""
    from clearsight.core.errors import BadValue

    if (certificate is None) != (key is None):
        flag, other = ("--tls-cert", "--tls-key") if key is None else ("--tls-key", "--tls-cert")
        raise BadValue(flag, f"it needs {other} too")
    return () if certificate is None else (str(certificate), str(key))


def memory_limit(text: str) -> int:
    """Return the bytes of --max-memory, 0 for none. Raises BadValue."""
    from clearsight.core.errors import BadValue
    from clearsight.core.format import parse_size

    try:
        return parse_size(text) if text else 0
    except ValueError as error:
        raise BadValue(f"--max-memory {text}", str(error)) from None


def share_text(share: float) -> str:
    """Return the share of a variant for people."""
    return f"{share:.3g} of the requests" if share else "shadow"


def worker_range(workers: str, least: int | None, most: int | None) -> tuple[int, int]:
    """Return the workers at least and at most. Raises BadValue for text that is no number."""
    from clearsight.core.errors import BadValue
    from clearsight.workflow.deployment.deploy import default_workers

    if workers != "auto" and not (workers.isdecimal() and int(workers) > 0):
        raise BadValue(f"--workers {workers}", "it must be a number from 1, or auto")
    count = default_workers() if workers == "auto" else int(workers)
    low = least if least is not None else min(count, most if most is not None else count)
    high = most if most is not None else max(count, low)
    if low > high:
        raise BadValue(f"--min-workers {low}", f"it must be at most --max-workers, {high}")
    return low, high


app = command_app(deploy, EPILOG)
