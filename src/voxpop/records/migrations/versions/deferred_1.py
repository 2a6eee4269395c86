"""Answers that are fetched later."""

import sqlalchemy as sa
from alembic import op

revision = "deferred_1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "deferred",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("alive", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.String(32), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("said", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_deferred_at", "deferred", ["at"])


def downgrade() -> None:
    """Remove it."""
    op.drop_table("deferred")
