"""What is said at the first start to somebody who comes from an older program."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelplug.cli.context import App

__all__ = ["offer_migration"]


def offer_migration(app: App) -> None:
    """Say that an older installation can be brought over, as long as this program has no home of its own yet.

    Nothing is done about it: the user decides.

    Args:
        app: The invocation.
    """
    paths = app.runtime.paths
    if any(path.exists() for path in (paths.config_file, paths.history_file, paths.data / "migrations")):
        return
    from modelplug.migration.migrator import Migrator

    for home in Migrator(app.runtime).homes():
        app.note(f"{home} is an older installation; `modelplug migrate plan` shows what it would bring")
