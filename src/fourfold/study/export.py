"""The ratings as CSV and JSON, with the method and the scene that each rating was for; and back from CSV."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fourfold.errors import StudyError
from fourfold.study.design import SCALE
from fourfold.study.manifest import Manifest
from fourfold.study.store import RatingStore

KINDS = ("calibration", "rating", "repeat")

#: What makes a spreadsheet run a cell as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Record:
    """One rating with what it was for; ``kind`` is ``calibration``, ``rating`` or ``repeat``."""

    rater: str
    position: int
    kind: str
    set_name: str
    scene: str
    method: str
    score: int
    response_ms: int | None = None
    magnification: int | None = None
    rated_at: str = ""


def records(manifest: Manifest, store: RatingStore) -> list[Record]:
    """Returns every rating that counts, by rater and position."""
    found = []
    for rating in store.ratings():
        stimulus = manifest.stimuli[rating.stimulus]
        found.append(
            Record(
                rating.rater,
                rating.position,
                rating.kind,
                stimulus.set_name,
                stimulus.scene,
                stimulus.method,
                rating.score,
                rating.response_ms,
                rating.magnification,
                rating.rated_at,
            )
        )
    return found


def read_records(path: Path) -> list[Record]:
    """Returns the ratings of an exported ``ratings.csv``.

    Raises:
        StudyError: naming the line that is not a rating, or that is there twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"cannot read the ratings in {path}: {error}") from error
    found = [_record(row, f"{path}, line {number}") for number, row in enumerate(rows, start=2)]
    lines: dict[tuple[str, int], int] = {}
    for number, record in enumerate(found, start=2):
        earlier = lines.setdefault((record.rater, record.position), number)
        if earlier != number:
            raise StudyError(
                f"{path}, line {number}: rater {record.rater} has a rating at position {record.position} in line "
                f"{earlier} already; give each rating once, as the admin page exports them"
            )
    return found


def ratings_csv(manifest: Manifest, store: RatingStore) -> bytes:
    """Returns all ratings as CSV."""
    return table(map(vars, records(manifest, store)), tuple(Record.__dataclass_fields__))


def ratings_json(manifest: Manifest, store: RatingStore) -> bytes:
    """Returns the study's description, its raters, ratings and events as JSON."""
    contents = {
        "study_id": manifest.study_id,
        "title": manifest.title,
        "digest": manifest.digest,
        "sets": {name: list(methods) for name, methods in manifest.sets.items()},
        "methods": {name: dict(record) for name, record in manifest.methods.items()},
        "raters": store.overview(),
        "events": store.events(),
        "ratings": [vars(record) for record in records(manifest, store)],
    }
    return json.dumps(contents, indent=1, ensure_ascii=False).encode()


def raters_csv(manifest: Manifest, store: RatingStore) -> bytes:
    """Returns one row a rater: progress, times and the last screen check, as CSV."""
    screens = last_screens(store)
    rows = [{**row, **(screens.get(row["id"]) or {})} for row in store.overview()]
    columns = ["id", "name", "enrolment", "created_at", "revoked_at", "done", "undone", "first_at", "last_at"]
    columns += ["screen_width", "screen_height", "window_width", "window_height", "pixel_ratio", "pinch_zoom"]
    return table(rows, (*columns, "colour_depth", "magnification", "fits", "browser"))


def last_screens(store: RatingStore) -> dict[str, dict[str, Any]]:
    """Returns each rater's last screen check."""
    return {event["rater"]: event["details"] for event in store.events() if event["what"] == "screen"}


def table(rows: Iterable[Mapping[str, Any]], columns: tuple[str, ...]) -> bytes:
    """Returns rows as CSV in UTF-8, with an empty cell for what is not a number.

    A cell that a spreadsheet would run as a formula is made plain text. Where there is more than ASCII, a byte order
    mark tells spreadsheets that this is UTF-8.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _plain(row.get(name)) for name in columns})
    return text.getvalue().encode("utf-8" if text.getvalue().isascii() else "utf-8-sig")


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return "" if isinstance(value, float) and not math.isfinite(value) else value


def _record(row: Mapping[str, str | None], where: str) -> Record:
    try:
        record = Record(
            rater=_text(row, "rater"),
            position=int(_text(row, "position")),
            kind=_text(row, "kind"),
            set_name=_text(row, "set_name"),
            scene=_text(row, "scene"),
            method=_text(row, "method"),
            score=int(_text(row, "score")),
            response_ms=_whole(row, "response_ms"),
            magnification=_whole(row, "magnification"),
            rated_at=row.get("rated_at") or "",
        )
    except (ValueError, KeyError) as error:
        raise StudyError(f"{where}: not a rating ({error}); give a ratings.csv that the admin page exported") from error
    if record.score not in SCALE or record.kind not in KINDS:
        raise StudyError(f"{where}: score {record.score} of kind {record.kind!r} cannot be a rating")
    return record


def _whole(row: Mapping[str, str | None], column: str) -> int | None:
    """Returns a number that not every rating has, nor every export."""
    value = row.get(column)
    return int(value) if value else None


def _text(row: Mapping[str, str | None], column: str) -> str:
    value = row[column]
    if not value:
        raise ValueError(f"{column} is empty")
    # a method may be called "+ours", which was written as "'+ours"
    return value[1:] if value[0] == "'" and value[1:].startswith(_FORMULA) else value
