"""``tierwise tune``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tierwise.cli._shared import asked, job_options, run_folder, run_options
from tierwise.errors import ProviderError

GOES_ON = "what was bought is kept: the same command goes on where this stopped"


@click.command("tune")
@job_options
@run_options
@click.option("--retry-failed", is_flag=True, help="Ask again for samples that failed for good.")
@click.option("--yes", is_flag=True, help="Do not ask before spending.")
@click.option("--quiet", is_flag=True, help="Print only where the files are.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--log-json", is_flag=True, help="Print progress as JSON lines on stderr.")
def command(
    job: str | None,
    out: Path | None,
    resume: bool,
    retry_failed: bool,
    yes: bool,
    quiet: bool,
    as_json: bool,
    log_json: bool,
    tiers: dict[str, str],
    **options: Any,
) -> None:
    """Tune prompt and inference strategy for each tier of JOB, and write a policy file for each.

    Without JOB: the embedded tiers on the task "arithmetic", which needs no key and no network. The
    same command goes on with a run that was interrupted; nothing is bought twice.
    """
    from tierwise.cli._plan import confirm, planned
    from tierwise.cli._progress import lasting, listening, say, stopping
    from tierwise.cli._results import show_results
    from tierwise.report.html import write_report
    from tierwise.runs.prepare import addresses_of, prepare
    from tierwise.runs.tune import tune
    from tierwise.search import RunDir

    with lasting():
        wanted = asked(job, tiers, options)
        folder = run_folder(out, wanted)
        quiet = quiet or as_json
        prepared = prepare(wanted)
        if resume:
            RunDir.check(folder, prepared.job, addresses_of(prepared))
        confirm(planned(prepared, folder, resume=resume), yes=yes, quiet=quiet)
        try:
            with (
                stopping(),
                listening(tuple(wanted.tiers), quiet=quiet, log_json=log_json) as listener,
            ):
                result = tune(
                    wanted,
                    folder,
                    listener=listener,
                    fresh=not resume,
                    loaded=prepared.loaded,
                    retry_failed=retry_failed,
                )
        except KeyboardInterrupt:
            say(f"interrupted; {GOES_ON}")
            raise
        except ProviderError as error:
            raise ProviderError(f"{error}\n{GOES_ON}") from None
        write_report(result.run.path)
        show_results(result, quiet=quiet, as_json=as_json)
        ended = [name for name, of in result.summary.tiers.items() if of.provider_ended]
        if ended:
            raise ProviderError(
                f"the provider of {', '.join(map(repr, ended))} failed for good before the search "
                f"was done: what was found is of the samples that were there; {GOES_ON}"
            )
