"""Finished conversations of the Responses API and of gRPC."""

import sqlalchemy as sa
from alembic import op

revision = "conversations_1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "exchanges",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("previous", sa.String(128), nullable=False),
        sa.Column("clear", sa.LargeBinary, nullable=False),
        sa.Column("shut", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_exchanges_owner", "exchanges", ["owner"])
    op.create_index("ix_exchanges_at", "exchanges", ["at"])


def downgrade() -> None:
    """Remove it."""
    op.drop_table("exchanges")
