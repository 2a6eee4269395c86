"""Sessions of pages, tries to sign in, invitations, and who signs in by which account elsewhere."""

import sqlalchemy as sa
from alembic import op

revision = "sessions_1"
down_revision = None
branch_labels = None
depends_on = "accounts_1"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "page_sessions",
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("user_id", sa.String(40), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_page_sessions_user_id", "page_sessions", ["user_id"])
    op.create_index("ix_page_sessions_expires_at", "page_sessions", ["expires_at"])
    op.create_table(
        "sign_in_attempts",
        sa.Column("subject", sa.LargeBinary(32), primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_sign_in_attempts_until", "sign_in_attempts", ["until"])
    op.create_table(
        "invitations",
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("tier", sa.String(64), nullable=False),
        sa.Column("team", sa.String(200), nullable=False),
        sa.Column("by", sa.String(120), nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_invitations_expires_at", "invitations", ["expires_at"])
    op.create_table(
        "sign_ins",
        sa.Column("issuer", sa.String(255), primary_key=True),
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column("user_id", sa.String(40), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    )
    op.create_index("ix_sign_ins_user_id", "sign_ins", ["user_id"])
