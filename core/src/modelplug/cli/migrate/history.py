"""`modelplug migrate history`: list what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.migrate.options import json_option
from modelplug.cli.tables import echo_table

if TYPE_CHECKING:
    from modelplug.cli.context import App
    from modelplug.migration.transactions import TransactionRecord

__all__ = ["as_plain", "command"]


@click.command("history")
@json_option
@click.pass_obj
def command(app: App, *, as_json: bool) -> None:
    """List every migration and rollback, newest first."""
    from modelplug.migration.migrator import Migrator
    from modelplug.system.report import format_bytes

    records = Migrator(app.runtime).history()
    if as_json:
        app.echo_json([as_plain(record) for record in records])
        return
    if not records:
        app.note("nothing was migrated yet")
        return
    echo_table(
        ("ID", "STATE", "WHAT", "FILES", "BACKUP"),
        [(r.id, r.state, _what(r), len(r.files), format_bytes(r.size)) for r in records],
        numbers=("FILES", "BACKUP"),
    )
    for record in records:
        if record.problem:
            app.warn(f"{record.id}: {record.problem}")


def _what(record: TransactionRecord) -> str:
    if record.rolls_back:
        return f"rollback of {record.rolls_back}"
    return f"{record.meta.get('family', '')} {record.meta.get('kind', '')}: {record.meta.get('title', '')}"


def as_plain(record: TransactionRecord) -> dict[str, Any]:
    """A record as plain data."""
    import attrs

    plain = attrs.asdict(record)
    plain["time"] = record.time.isoformat() if record.time else None
    plain["folder"] = str(record.folder)
    plain["files"] = [str(path) for path in record.files]
    plain["left_alone"] = [str(path) for path in record.left_alone]
    plain["meta"] = dict(record.meta)
    return plain
