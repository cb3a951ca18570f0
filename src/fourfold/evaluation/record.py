"""The result as JSON: ``{"results": [...], "means": [...], "context": {...}}``, and back.

A number that JSON has no word for is written as text: ``"inf"`` for the PSNR of identical pictures. ``null`` is a
measure that does not apply.
"""

import json
import math
from pathlib import Path
from typing import Any

from fourfold.durable import write_atomically
from fourfold.errors import EvaluationError
from fourfold.evaluation.benchmark import Benchmark, difference_to_paper, papers


def to_record(found: Benchmark, context: dict[str, Any]) -> dict[str, Any]:
    """Returns the result as plain values, ready for ``json.dumps``."""
    results = [
        {
            "set": s.set,
            "image": s.image,
            "method": s.method,
            **{name: plain(value) for name, value in s.values.items()},
            "seconds": s.seconds,
            "height": s.size[0],
            "width": s.size[1],
        }
        for s in found.scores
    ]
    means = []
    for m in found.means:
        theirs = papers(m)
        means.append(
            {
                "set": m.set,
                "method": m.method,
                "images": m.images,
                "complete": m.complete,
                **{name: plain(value) for name, value in m.values.items()},
                "seconds": m.seconds,
                "paper": {k: plain(v) for k, v in theirs._asdict().items()} if theirs else None,
                "difference_to_paper": difference_to_paper(m) or None,
                "against": m.against,
                "p": m.p or None,
            }
        )
    return {"results": results, "means": means, "context": context}


def plain(value: float | None) -> float | str | None:
    """Returns a number that JSON can hold, or the text "inf", "-inf" or "nan"."""
    return value if value is None or math.isfinite(value) else str(float(value))


def counted(count: int, what: str) -> str:
    """Returns "1 picture", or "1,200 pictures"."""
    return f"{count:,} {what}" + "s" * (count != 1)


def shown(text: str) -> str:
    """Returns text that can be written in UTF-8: the odd bytes of a file's name that is not text as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def record_text(record: dict[str, Any]) -> str:
    """Returns the record as JSON."""
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> Path:
    """Writes a text file, whole or not at all, as :func:`shown`.

    Raises:
        EvaluationError: if it cannot be written.
    """
    try:
        write_atomically(path, shown(text).encode())
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be written ({error.strerror or error})") from error
    return path
