"""The format of a result is settled before the picture is accepted: what cannot be written is refused, not failed."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from fourfold.imaging import Picture, encode_picture, open_picture
from fourfold.serving.problems import ProblemError
from fourfold.serving.result_format import choose_format
from tests.conftest import make_photo
from tests.imaging.samples import animation, encoded
from tests.serving.conftest import RunningServer, png
from tests.serving.test_bad_input import check_problem

Start = Callable[..., RunningServer]


def flat(format: str, width: int, height: int) -> bytes:
    return encode_picture(Picture(np.full((height, width, 3), 90, np.uint8)), format)


def moving(width: int, height: int) -> bytes:
    frames = animation(2, (width, height))
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)


#: picture, megabytes of memory -> format of the result, words of the note
AUTO = {
    "png": (png(), 1024, "png", None),
    "avif": (flat("avif", 64, 64), 1024, "avif", None),
    "avif too large for the memory": (flat("avif", 400, 300), 64, "png", "written as PNG, since a result of 1600 x"),
    "avif too wide": (flat("avif", 4100, 4), 1024, "png", "written as PNG, since AVIF ends at 16,384 pixels a side"),
    "webp too wide": (flat("webp", 4100, 4), 1024, "png", "since WEBP ends at 16,383 pixels a side"),
    "gif": (encoded(Image.fromarray(make_photo(8, 8)), "GIF"), 1024, "png", "which holds all colours"),
    "animation": (moving(24, 16), 1024, "webp", "which holds all colours"),
    "animation too wide for webp": (moving(4200, 12), 1024, "gif", "written as GIF, since WEBP ends at"),
}


@pytest.mark.parametrize("case", AUTO)
def test_auto_takes_the_next_best(case: str) -> None:
    data, megabytes, format, note = AUTO[case]
    chosen, notes = choose_format(open_picture(data, all_frames=True), "auto", 4, megabytes << 20)
    assert chosen == format
    assert [note in said for said in notes] == [True] if note else notes == []


#: picture, wanted format, megabytes of memory -> problem, its words
REFUSED = {
    "too wide": (png(4200, 1), "webp", 1024, "invalid-parameter", "choose png or jpg or tiff"),
    "too much memory": (png(400, 300), "avif", 64, "invalid-parameter", "MiB of memory as AVIF, and there are 64"),
    "nothing helps": (flat("avif", 2000, 1600), "auto", 32, "picture-too-large", "MiB of memory as AVIF"),
    "nor another format": (flat("avif", 2000, 1600), "png", 32, "picture-too-large", "MiB of memory as PNG"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_is_refused(case: str) -> None:
    data, wanted, megabytes, slug, words = REFUSED[case]
    with pytest.raises(ProblemError) as refused:
        choose_format(open_picture(data), wanted, 4, megabytes << 20)
    assert refused.value.slug == slug and words in refused.value.detail
    assert "--" not in refused.value.detail, "no advice for the command line"


def test_a_picture_beyond_its_format_becomes_a_png_or_is_refused_at_once(start: Start) -> None:
    server = start(max_memory="16M", limits={"input_px": 10_000_000, "output_px": 160_000_000, "side_px": 16_000})
    data = flat("avif", 300, 200)
    job = server.wait_for(server.submit(data)["id"])
    assert (job["state"], job["result"]["format"]) == ("done", "png"), job["problem"]
    assert "written as PNG" in job["result"]["notes"][0]
    for picture, wanted in ((data, "avif"), (png(4200, 1), "webp")):
        answer = server.client.post("/v1/jobs", content=picture, params={"format": wanted})
        check_problem(answer, 422, "invalid-parameter")
        assert [error["parameter"] for error in answer.json()["errors"]] == ["format"]
    check_problem(server.client.post("/v1/jobs", content=flat("avif", 1000, 900)), 413, "picture-too-large")
    server.stop()
