"""Names of downloads: whole for browsers, in ASCII for the rest, and nothing but a name for anybody."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fourfold.serving.downloads import attachment
from tests.serving.conftest import RunningServer, png

#: RFC 6266 with the quoted string and the extended value of RFC 8187, nothing escaped in the former.
GRAMMAR = re.compile(
    r"""attachment; filename="(?P<plain>[ !#-$&-.0-\[\]-~]+)"(?:; filename\*=utf-8''(?P<whole>[\w.%~-]+))?""", re.ASCII
)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("cat_x4.png", "cat_x4.png"),
        ("my cat (2)_x4.png", "my cat (2)_x4.png"),
        ("Café_x4.png", "Cafe_x4.png"),
        ("Cafe\u0301_x4.png", "Cafe_x4.png"),  # decomposed, as macOS has it
        ("Ærø & Łódź_x4.png", "_r_ & _odz_x4.png"),
        ("猫_x4.png", "__x4.png"),
        ("고양이_x4.png", "____x4.png"),  # not the ten signs that these three fall apart into
        ("\N{CAT FACE} 50 %_x4.png", "_ 50 __x4.png"),
        ("½ ﬁne…_x4.png", "_ fine..._x4.png"),
        ("\uff0e\uff0ebashrc", "_bashrc"),  # full-width dots would make a hidden file
        ("a\uff0fb\uff3cc\uff02d_x4.png", "a_b_c_d_x4.png"),  # full-width / \ and "
        ('a"; filename="b.exe', "a__ filename=_b.exe"),
        ("a\r\nSet-Cookie: x=1\\", "a__Set-Cookie_ x=1_"),
    ],
)
def test_names_in_ascii(name: str, plain: str) -> None:
    assert read(attachment(name)) == (plain, name)


@given(st.text(min_size=1))
@example('"')
@example("\r\n")
@example("\\")
@example(".")
def test_no_name_is_more_than_a_name(name: str) -> None:
    plain, whole = read(attachment(name))
    assert whole == name
    assert not plain.startswith(".")


def read(disposition: str) -> tuple[str, str]:
    """Returns what a simple client and a browser take as the name."""
    found = GRAMMAR.fullmatch(disposition)
    assert found, disposition
    return found["plain"], unquote(found["whole"], errors="strict") if found["whole"] else found["plain"]


def test_results_are_offered_under_both_names(server: RunningServer) -> None:
    job = server.wait_for(server.submit(png(4, 4), name="Café.png")["id"])
    for answer in (
        server.client.get(f"/v1/jobs/{job['id']}/result"),
        server.client.get(f"/v1/jobs/{job['id']}/result", headers={"Range": "bytes=0-3"}),
        server.client.post("/v1/upscale", content=png(4, 4), params={"name": "Café.png"}),
    ):
        assert read(answer.headers["content-disposition"]) == ("Cafe_x4.png", "Café_x4.png")
