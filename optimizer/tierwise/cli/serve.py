"""``tierwise serve POLICY…``: the OpenAI-compatible gateway."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import click

from tierwise.cli._shared import normaliser_option, retriever_option, run_code_option
from tierwise.errors import InputError, printable


@click.command("serve")
@click.argument("policies", nargs=-1, required=True, type=click.Path(dir_okay=False))
@retriever_option
@normaliser_option
@run_code_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to serve on; any but loopback needs TIERWISE_TOKENS.",
)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option("--seed", default=0, show_default=True, help="Seed where a request brings none.")
@click.option(
    "--max-in-flight",
    default=256,
    show_default=True,
    type=click.IntRange(1),
    help="Requests under way at once; more are answered 429.",
)
@click.option("--max-body-bytes", default=1_000_000, show_default=True, type=click.IntRange(1))
@click.option(
    "--reload-s",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds between looks at the policy files.",
)
@click.option(
    "--drain-s",
    default=60,
    show_default=True,
    type=click.IntRange(0),
    help="Seconds that a stop waits for requests under way.",
)
def command(
    policies: tuple[str, ...],
    host: str,
    port: int,
    seed: int,
    max_in_flight: int,
    max_body_bytes: int,
    reload_s: float,
    drain_s: int,
) -> None:
    """Serve each POLICY as a model, behind OpenAI's chat interface.

    Set TIERWISE_TOKENS to the bearer tokens that clients must send; without one, only this machine
    can ask. SIGTERM ends it after the requests under way.
    """
    try:
        import uvicorn

        from tierwise.serving.gateway import (
            AccessRules,
            Gateway,
            GatewayLimits,
            PrintableFormatter,
            tokens_from_environment,
        )
    except ModuleNotFoundError as error:
        if error.name not in ("uvicorn", "starlette", "prometheus_client"):
            raise
        raise InputError(
            f"{error.name} is missing: pip install 'tierwise[serve]' brings what the gateway needs"
        ) from None
    from tierwise.serving.registry import PolicyRegistry
    from tierwise.serving.runtime import PolicyRuntime

    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    access = AccessRules(host, tokens_from_environment())
    paths = list(dict.fromkeys(Path(policy) for policy in policies))
    registry = PolicyRegistry(paths, functools.partial(PolicyRuntime, seed=seed))
    limits = GatewayLimits(
        max_in_flight=max_in_flight, max_body_bytes=max_body_bytes, reload_s=reload_s
    )
    for served in registry.policies:
        state = f"not ready: {served.fault}" if served.fault else f"version {served.version}"
        click.echo(printable(f"{served.file.name}: {state}"), err=True)
    uvicorn.run(
        Gateway(registry, access, limits).app,
        host=host,
        port=port,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=drain_s,
        log_config=None,  # its messages go where ours go
    )
