"""clearsight sagemaker: run a local service that speaks SageMaker's APIs: start, stop, status, logs, env, exec."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from clearsight.core.errors import BadValue, NotFound
from clearsight.core.safe_text import printable_line
from clearsight_sagemaker.cli.output import (
    env_lines,
    log_lines,
    resource_lines,
    resource_values,
    status_lines,
    status_values,
)
from clearsight_sagemaker.remote.commands import delete_endpoint, fetch, follow, stop_job
from clearsight_sagemaker.state.home import ServiceHome, default_home

_HELP = {"help_option_names": ["--help", "-h"]}
app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    context_settings=_HELP,
    help="Run a local service that speaks SageMaker's APIs, and unchanged programs against it.",
)

_EXEC_EPILOG = """Examples:
  clearsight sagemaker exec -- jupyter lab
  clearsight sagemaker exec -- python submit.py
  clearsight sagemaker exec -- aws sagemaker list-training-jobs
"""

Home: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help="folder of the service, $CLEARSIGHT_SAGEMAKER_HOME by default")
]
Port: TypeAlias = Annotated[
    int, typer.Option(help="0 for the one that the home had before, or a free one", min=0, max=65535)
]
MaxJobs: TypeAlias = Annotated[
    int, typer.Option(help="training jobs at the same time, 0 for the number of cores", min=0)
]
JobEnvironment: TypeAlias = Annotated[
    list[str] | None, typer.Option("--job-env", metavar="NAME=VALUE", help="variable for the scripts of jobs")
]
FastPolling: TypeAlias = Annotated[
    bool, typer.Option("--fast-polling", help="let the SDK ask twice a second, not every 10 to 30 s")
]
ResourceName: TypeAlias = Annotated[
    str, typer.Argument(metavar="[NAME]", help="name of a job or an endpoint; the service itself by default")
]
Kind: TypeAlias = Annotated[
    str,
    typer.Option(metavar="KIND", help="of NAME: training, tuning, processing, transform or endpoint"),
]
StrictEndpoints: TypeAlias = Annotated[
    bool, typer.Option("--strict-endpoints", help="fail an endpoint whose model cannot be loaded")
]


@app.command(context_settings=_HELP)
def start(
    port: Port = 0,
    home: Home = None,
    max_jobs: MaxJobs = 0,
    host: Annotated[str, typer.Option(help="address to listen on; others than loopback need signatures")] = "127.0.0.1",
    require_signature: Annotated[
        bool, typer.Option("--require-signature", help="refuse requests that are not signed with the key of the home")
    ] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="serve until Ctrl-C")] = False,
    state: Annotated[str, typer.Option(metavar="URL", help="database, as SQLAlchemy writes it")] = "",
    s3_endpoint: Annotated[
        str, typer.Option(metavar="URL", help="an S3 in the place of the own one, with the keys of AWS_ACCESS_KEY_ID")
    ] = "",
    job_env: JobEnvironment = None,
    strict_endpoints: StrictEndpoints = False,
) -> int:
    """Start the service in the background, and return when it answers."""
    # Imported here: --help should not wait for a web server and a database.
    from clearsight_sagemaker.service.__main__ import log_to_stderr
    from clearsight_sagemaker.service.lifecycle import start_service
    from clearsight_sagemaker.service.server import ServiceOptions, serve

    options = ServiceOptions(
        home=home or default_home(os.environ),
        host=host,
        port=port,
        max_jobs=max_jobs,
        require_signature=require_signature,
        state_url=state,
        s3_endpoint=s3_endpoint,
        job_environment=_variables(job_env or ()),
        strict_endpoints=strict_endpoints,
    )
    if s3_endpoint:
        ServiceHome(options.home).use_keys(os.environ)
    if foreground:
        log_to_stderr()
        serve(options, os.environ)
        return 0
    address = start_service(options, os.environ)
    print(f"{'serving ' if address.is_new else 'already '} {address.url}")
    print(printable_line(f"home     {options.home}"))
    return 0


@app.command(context_settings=_HELP)
def stop(home: Home = None) -> int:
    """Stop the service; jobs that run go on, and the next start finds them."""
    from clearsight_sagemaker.service.lifecycle import stop_service

    print("stopped" if stop_service(_home(home)) else "the service does not run")
    return 0


@app.command(context_settings=_HELP)
def status(
    name: ResourceName = "",
    home: Home = None,
    kind: Kind = "",
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> int:
    """Show where the service listens, the jobs that run and the endpoints, or one of them.

    The exit code is 1 where the service does not run; for a job or an endpoint it need not run.
    """
    values = resource_values(_home(home), name, kind) if name else status_values(_home(home))
    lines = resource_lines(values) if name else status_lines(values)
    for line in [json.dumps(values, indent=2)] if as_json else lines:
        print(printable_line(line) if not as_json else line)
    return 0 if name or values["url"] else 1


@app.command(context_settings=_HELP)
def logs(
    name: ResourceName = "",
    home: Home = None,
    kind: Kind = "",
    lines: Annotated[int, typer.Option(help="the last ones", min=0)] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="print lines as they come, until Ctrl-C")] = False,
) -> int:
    """Print the log of the service or of a job; those of a tuning job's training jobs, of an endpoint's instances."""
    for line in log_lines(_home(home), name, kind, lines, follow=follow):
        print(printable_line(line), flush=follow)
    return 0


@app.command(context_settings=_HELP)
def env(home: Home = None, fast_polling: FastPolling = False) -> int:
    """Print the variables for a shell: eval "$(clearsight sagemaker env)"."""
    from clearsight_sagemaker.clients.environment import client_variables
    from clearsight_sagemaker.service.lifecycle import running_url

    folder = _home(home)
    url = running_url(folder)
    if not url:
        fix = "Start it with: clearsight sagemaker start."
        raise NotFound("clearsight sagemaker env", f"no service runs in {folder.folder}", fix=fix)
    for line in env_lines(client_variables(folder, url, os.environ, fast_polling=fast_polling)):
        print(line)
    return 0


@app.command("exec", epilog=_EXEC_EPILOG, context_settings={**_HELP, "allow_interspersed_args": False})
def execute(
    program: Annotated[list[str], typer.Argument(metavar="-- PROGRAM", help="what to run", show_default=False)],
    port: Port = 0,
    home: Home = None,
    max_jobs: MaxJobs = 0,
    fast_polling: FastPolling = False,
    job_env: JobEnvironment = None,
    strict_endpoints: StrictEndpoints = False,
) -> int:
    """Run a program, unchanged, against the service, which is started where it does not run."""
    from clearsight_sagemaker.clients.environment import client_environment
    from clearsight_sagemaker.service.lifecycle import start_service
    from clearsight_sagemaker.service.server import ServiceOptions

    options = ServiceOptions(
        home=home or default_home(os.environ),
        port=port,
        max_jobs=max_jobs,
        job_environment=_variables(job_env or ()),
        strict_endpoints=strict_endpoints,
    )
    address = start_service(options, os.environ)
    environment = client_environment(ServiceHome(options.home), address.url, os.environ, fast_polling=fast_polling)
    found = shutil.which(program[0], path=environment["PATH"])
    if found is None:
        raise NotFound(program[0], "there is no such program on PATH")
    sys.stdout.flush()
    sys.stderr.flush()
    # In the place of this process: signals, the terminal and the exit code are those of the program.
    os.execve(found, program, environment)


def _home(home: Path | None) -> ServiceHome:
    return ServiceHome(home or default_home(os.environ))


def _variables(pairs: Sequence[str]) -> dict[str, str]:
    variables = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise BadValue(f"--job-env {pair}", "must be NAME=VALUE")
        variables[name] = value
    return variables


@app.command("profiler-report", context_settings=_HELP)
def profiler_report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of the run", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder in which profiler-output/ is written")],
) -> int:
    """Write profiler-report.html and the JSON of each profiler rule for a run."""
    from clearsight_sagemaker.profiler_report import write_profiler_output

    print(write_profiler_output(run, out) / "profiler-report.html")
    return 0


# Of jobs and endpoints in an account, or of the service under `exec`: what `--on sagemaker` has submitted.
_ACCOUNT: dict[str, Callable[..., int]] = {
    "fetch": fetch,
    "follow": follow,
    "stop-job": stop_job,
    "delete-endpoint": delete_endpoint,
}
for _name, _command in _ACCOUNT.items():
    app.command(_name, context_settings=_HELP, rich_help_panel="Jobs of clearsight train, tune, deploy --on sagemaker")(
        _command
    )
