"""`modelplug recommend`: which backend would run a model, with which settings, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modelplug.backends.types import format_speed
from modelplug.cli.first_start import offer_migration
from modelplug.cli.rendering import echo_heading, echo_pairs, wrapped
from modelplug.cli.tables import echo_table

if TYPE_CHECKING:
    from modelplug.backends.types import Candidate, Recommendation
    from modelplug.cli.context import App
    from modelplug.formats.model_info import ModelInfo

__all__ = ["command"]


@click.command("recommend")
@click.argument("model", required=False)
@click.option("--backend", help="Judge this backend only.")
@click.option("--gpu-layers", type=int, help="Layers on the GPU: -1 all, 0 none. [default: as many as fit]")
@click.option("--context-size", type=int, help="Tokens the context must hold. [default: up to 8192]")
@click.option("--threads", type=int, help="CPU threads. [default: the usable cores]")
@click.option("--batch-size", type=int, help="Prompt tokens evaluated at once.")
@click.option("--force", is_flag=True, help="Plan even what does not fit into memory.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
@click.pass_context
def command(ctx: click.Context, app: App, /, *, model: str | None, as_json: bool, **wishes: Any) -> None:
    """Show which backend would run MODEL, with the verdict on every other and the reason.

    MODEL is a path, `demo`, or a registered name. Without it, the best backend of this machine is shown.
    Nothing is loaded.
    """
    from modelplug.backends.inspection import inspected
    from modelplug.backends.select import BackendSelector

    offer_migration(app)
    info = inspected(model, app.runtime) if model is not None else None
    selector = BackendSelector(app.runtime)
    recommendation = selector.get_recommendation(info, **wishes)
    failure = None if recommendation.backend else selector.failure(info, recommendation, **wishes)
    if as_json:
        app.echo_json(_as_plain(info, recommendation, failure.to_dict() if failure else None))
    else:
        _print(info, recommendation)
    if failure is not None:
        if not as_json:
            failure.why = "the table says why for each"
            app.show_error(failure)
        ctx.exit(failure.exit_code)


def _as_plain(
    info: ModelInfo | None, recommendation: Recommendation, error: dict[str, object] | None
) -> dict[str, Any]:
    from modelplug.backends.plain import recommendation_to_dict

    plain = recommendation_to_dict(recommendation)
    if info is not None:
        plain = {"model": str(info.path), "fingerprint": info.fingerprint, **plain}
    return plain if error is None else {**plain, "error": error}


def _print(info: ModelInfo | None, recommendation: Recommendation) -> None:
    if info is not None:
        _print_model(info)
    echo_table(
        ["BACKEND", "VERDICT", "TOKENS/S"],
        [_row(candidate, recommendation.backend) for candidate in recommendation.candidates],
    )
    for candidate in recommendation.candidates:
        click.echo(f"\n{candidate.backend}:\n{wrapped(candidate.reason, indent='  ')}")
    if not recommendation.backend:
        click.echo()
        return
    echo_heading(f"Recommended: {recommendation.backend}")
    # Its verdict stands above already; what remains is why it was preferred.
    verdict = next(c for c in recommendation.candidates if c.backend == recommendation.backend)
    click.echo(wrapped(recommendation.reason.replace(f"; {verdict.reason}", ""), indent="  "))
    echo_heading("Settings")
    echo_pairs((f"  {name}", _shown(value)) for name, value in recommendation.settings.items())
    echo_heading("Expected speed")
    _print_estimate(recommendation)
    if len(recommendation.plans) > 1:
        echo_heading("If that fails, in this order")
        for plan in recommendation.plans[1:]:
            layers = "all layers" if plan.gpu_layers < 0 else f"{plan.gpu_layers} layers"
            where = "on the CPU" if plan.gpu_layers == 0 else f"with {layers} on {plan.device}"
            click.echo(f"  {plan.backend} {where}")


def _print_model(info: ModelInfo) -> None:
    parts = [info.format, info.architecture, info.quantization]
    if info.parameters:
        parts.append(f"{info.parameters / 1e6:,.1f} million parameters")
    click.echo(f"{info.path}")
    click.echo("  " + ", ".join(part for part in parts if part))
    click.echo()


def _row(candidate: Candidate, chosen: str) -> list[str]:
    verdict = "recommended" if candidate.backend == chosen else "suitable" if candidate.suitable else "no"
    estimate = candidate.estimate
    speed = f"{format_speed(estimate.tokens_per_second)} ({estimate.basis})" if estimate else ""
    return [candidate.backend, verdict, speed]


def _shown(value: object) -> str:
    return "as many as fit" if value is None else str(value)


def _print_estimate(recommendation: Recommendation) -> None:
    estimate = recommendation.performance_estimate
    click.echo(wrapped(str(estimate), indent="  "))
    if not isinstance(estimate, str):
        click.echo(wrapped(estimate.detail, indent="  "))
