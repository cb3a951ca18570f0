"""The documentation against the program: commands, options, links, recipes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from fourfold.cli import COMMANDS, app
from fourfold.training import load_recipe, recipe_names
from fourfold.training.recipe import RECIPES

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def commands() -> dict[tuple[str, ...], Any]:
    """Every command and subcommand, by its words."""
    root: Any = get_command(app)
    found: dict[tuple[str, ...], Any] = {}

    def walk(words: tuple[str, ...], command: Any) -> None:
        found[words] = command
        for name in getattr(command, "commands", {}):
            walk((*words, name), command.commands[name])

    for name in COMMANDS:
        walk((name,), root.get_command(None, name))
    return found


def options(command: Any) -> set[str]:
    return {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("-")} | {"--help", "-h"}


def examples() -> Iterator[tuple[str, str]]:
    """Every `fourfold ...` line in a shell block of the documentation."""
    for page in PAGES:
        for block in re.findall(r"```(?:sh|console|bash)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                line = line.strip().removeprefix("$ ")
                found = re.match(r"(?:\S*/)?fourfold\s", line)
                if found:
                    yield page.name, line[found.end() :]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_example_is_a_command_with_options_that_exist() -> None:
    known = commands()
    seen = 0
    for page, line in examples():
        words = shlex.split(line, comments=True)
        if not words or words[0].startswith("-"):
            continue
        path = tuple(words[:2]) if tuple(words[:2]) in known else tuple(words[:1])
        assert path in known, f"{page}: no command {line!r}"
        for word in words[len(path) :]:
            if re.match(r"--?[a-z]", word):
                assert word.split("=")[0] in options(known[path]), f"{page}: {' '.join(path)} has no option {word}"
        seen += 1
    assert seen > 10


def test_the_examples_of_a_page_make_different_files() -> None:
    """Otherwise the second one, typed as it stands, ends because the file is there."""
    for page in {page for page, _ in examples()}:
        words = [shlex.split(line, comments=True) for name, line in examples() if name == page]
        made = [tuple(of[1:]) for of in words if of[:1] == ["upscale"]]
        beside = [of[0] for of in made if not {"-o", "--output", "--ext"} & set(of)]
        named = [of[of.index("-o") + 1] for of in made if "-o" in of and not of[of.index("-o") + 1].endswith("/")]
        assert len(set(beside)) == len(beside), f"{page}: {beside}"
        assert len(set(named)) == len(named), f"{page}: {named}"


def test_every_command_and_option_is_documented() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    missing = []
    for path, command in commands().items():
        if f"fourfold {' '.join(path)}" not in text:
            missing.append(" ".join(path))
        missing += [
            f"{' '.join(path)} {parameter.opts[-1]}"
            for parameter in command.params
            if parameter.opts[-1].startswith("--")
            and parameter.opts[-1] != "--help"
            and not any(option in text for option in parameter.opts)
        ]
    assert not missing


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_parse_in_every_profile(name: str) -> None:
    import tomllib

    profiles = tomllib.loads((RECIPES / f"{name}.toml").read_text(encoding="utf-8")).get("profiles", {})
    assert "quick" in profiles
    for profile in ("paper", *profiles):
        assert load_recipe(name, profile=profile).name == name
