"""The tables' versions: Alembic's migrations, run when the store is opened."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from proxyd.errors import ConfigError

NEWEST = "0018"  # the revision that `tables` describes
MIGRATIONS = Path(__file__).parent / "migrations"


def bring_up_to_date(connection: sa.Connection) -> None:
    """Make or change the tables in one transaction. Raises ConfigError for a store of a newer proxyd."""
    revision = _revision(connection)
    if revision == NEWEST:
        return
    # Imported here: every command opens the store, few change it, and Alembic takes a tenth of a second to import.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        with connection.begin():
            command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigError(
            f"the store was written by a newer version of proxyd (revision {revision}): install that one"
        ) from error


def _revision(connection: sa.Connection) -> str | None:
    try:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        value: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return value
    finally:
        connection.rollback()
