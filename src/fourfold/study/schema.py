"""The tables of the ratings store."""

import sqlalchemy as sa

SCHEMA_VERSION = 1

tables = sa.MetaData()
meta_table = sa.Table(
    "study_meta",
    tables,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
raters_table = sa.Table(
    "study_raters",
    tables,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("enrolment", sa.String(10), nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("revoked_at", sa.String(32)),
)
ratings_table = sa.Table(
    "study_ratings",
    tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("rater", sa.ForeignKey("study_raters.id"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("stimulus", sa.String(40), nullable=False),
    sa.Column("kind", sa.String(12), nullable=False),
    sa.Column("score", sa.Integer, nullable=False),
    sa.Column("nonce", sa.String(64), nullable=False),
    sa.Column("response_ms", sa.Integer),
    sa.Column("magnification", sa.Integer),
    sa.Column("rated_at", sa.String(32), nullable=False),
    sa.Column("undone_at", sa.String(32)),
    sa.CheckConstraint("score BETWEEN 1 AND 5", name="study_ratings_score"),
    sa.UniqueConstraint("rater", "nonce", name="study_ratings_nonce"),
    sqlite_autoincrement=True,
)
# One counting rating per rater and position, whatever two tabs or two server processes try at once.
sa.Index(
    "study_ratings_once",
    ratings_table.c.rater,
    ratings_table.c.position,
    unique=True,
    sqlite_where=ratings_table.c.undone_at.is_(None),
    postgresql_where=ratings_table.c.undone_at.is_(None),
)
events_table = sa.Table(
    "study_events",
    tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("rater", sa.ForeignKey("study_raters.id"), nullable=False),
    sa.Column("at", sa.String(32), nullable=False),
    sa.Column("what", sa.String(20), nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
)
