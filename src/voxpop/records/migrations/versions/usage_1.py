"""What was used: a ledger that no statement can change, what is held, totals, waiting lists, repeated answers."""

import sqlalchemy as sa
from alembic import op

revision = "usage_1"
down_revision = None
branch_labels = None
depends_on = None

_SQLITE = """
CREATE TRIGGER usage_ledger_{when} BEFORE {act} ON usage_ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END
"""
_POSTGRES = """
CREATE FUNCTION usage_ledger_refuses() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$;
CREATE TRIGGER usage_ledger_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON usage_ledger
FOR EACH STATEMENT EXECUTE FUNCTION usage_ledger_refuses()
"""


def upgrade() -> None:
    """Make the tables."""
    _ledger()
    _counted()
    _lists()


def _who() -> list[sa.Column[str]]:
    sizes = {"account": 64, "team": 64, "key": 64, "bucket": 40, "endpoint": 40, "model": 120, "request": 128}
    return [sa.Column(name, sa.String(size), nullable=False) for name, size in sizes.items()]


def _big(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _ledger() -> None:
    op.create_table(
        "usage_ledger",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("hold", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        *_big("at"),
        *_who(),
        sa.Column("requests", sa.SmallInteger, nullable=False),
        *_big("answers", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "searches"),
        *_big("engine_us", "source_ticks", "ticks"),
        sa.Column("why", sa.String(200), nullable=False),
        sa.UniqueConstraint("hold", "kind", name="uq_usage_ledger_hold"),
    )
    op.create_index("ix_usage_ledger_at", "usage_ledger", ["at"])
    op.create_index("ix_usage_ledger_account_at", "usage_ledger", ["account", "at"])
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(_SQLITE.format(when=act.lower(), act=act))
    else:
        op.execute(_POSTGRES)


def _counted() -> None:
    op.create_table(
        "usage_holds",
        sa.Column("hold", sa.String(32), primary_key=True),
        sa.Column("server", sa.String(32), nullable=False),
        *_big("at"),
        *_who(),
        *_big("slot", "tokens"),
        sa.Column("answers", sa.Integer, nullable=False),
    )
    op.create_index("ix_usage_holds_account_bucket", "usage_holds", ["account", "bucket"])
    op.create_index("ix_usage_holds_server", "usage_holds", ["server"])
    op.create_table(
        "usage_totals",
        sa.Column("account", sa.String(64), primary_key=True),
        sa.Column("bucket", sa.String(40), primary_key=True),
        sa.Column("slot", sa.BigInteger, primary_key=True),
        *_big("requests", "tokens"),
    )
    op.create_table("usage_servers", sa.Column("id", sa.String(32), primary_key=True), *_big("beats"))


def _lists() -> None:
    op.create_table(
        "tier_waiting",
        sa.Column("tier", sa.String(40), primary_key=True),
        sa.Column("account", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        *_big("since"),
    )
    op.create_table(
        "repeats",
        sa.Column("account", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("server", sa.String(32), nullable=False),
        *_big("at"),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_repeats_at", "repeats", ["at"])
    op.create_index("ix_repeats_server", "repeats", ["server"])
