"""``fourfold study``: create a rating study, invite raters, serve it, report what they said."""

import sys
from collections.abc import Callable
from pathlib import Path

import typer

from fourfold.cli.stopping import stopping_cleanly

app = typer.Typer(
    help="A rating study (MOS): create it, invite raters, serve it, report the result.",
    no_args_is_help=True,
    add_completion=False,
)

_STUDY = typer.Argument(..., metavar="STUDY", help="The study's folder.")
_DATABASE = typer.Option(
    None, "--database", metavar="URL", help="Ratings store; default STUDY/ratings.sqlite. postgresql://... works too."
)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@app.command()
@stopping_cleanly()
def create(
    study: Path = _STUDY,
    data: Path = typer.Option(..., "--data", help="Folder with the benchmark sets (or with bench/ inside)."),
    sets: str = typer.Option("Set5,Set14,BSD100", "--sets", help="Sets to rate."),
    methods: str = typer.Option(
        "paper",
        "--methods",
        help="Names, weights files, NAME=FILE, NAME=DIR with results; 'paper' stands for the paper's twelve.",
    ),
    without: str = typer.Option("", "--without", help="Methods to leave out."),
    same_everywhere: bool = typer.Option(
        False, "--same-everywhere", help="Rate every method on BSD100 too, not only the paper's nine."
    ),
    calibration_data: Path | None = typer.Option(
        None, "--calibration-data", help="Folder of photographs that are in no set; some are chosen for calibration."
    ),
    calibration: int = typer.Option(20, "--calibration", help="Calibration pictures, each shown as a 1 and as a 5."),
    repeats: int = typer.Option(10, "--repeats", help="Pictures shown twice, to measure consistency."),
    repeats_from: str | None = typer.Option(
        None, "--repeats-from", metavar="SET", help="Set that these are chosen from; default the last one."
    ),
    seed: str | None = typer.Option(None, "--seed", help="Seed of all orders; default a fresh one."),
    title: str = typer.Option("Picture quality study", "--title", help="Title that raters read."),
    engine: str = typer.Option("auto", "--engine", help="Engine for the networks: auto, openvino or torch."),
    precision: str = typer.Option("auto", "--precision", help="Precision: auto, fp32 or bf16."),
) -> None:
    """Build a study from benchmark sets and methods; the default is the paper's design."""
    from fourfold.evaluation.record import counted
    from fourfold.study import Request, create_study

    request = Request(
        data=data,
        sets=_words(sets),
        methods=_words(methods),
        without=_words(without),
        same_everywhere=same_everywhere,
        calibration_data=calibration_data,
        calibration=calibration,
        repeats=repeats,
        repeats_from=repeats_from,
        seed=seed,
        title=title,
        engine=engine,
        precision=precision,
    )

    def tell(note: str) -> None:
        typer.echo(f"note: {note}", err=True)

    manifest = create_study(study, request, _counter("pictures made"), tell)
    for name, shown in manifest.sets.items():
        typer.echo(f"{name}: {len(shown)} versions of every picture: {', '.join(shown)}")
    typer.echo(
        f"{counted(manifest.ratings_per_rater, 'rating')} a rater, "
        f"{counted(len(manifest.repeats), 'picture')} shown twice, "
        f"{calibration} for calibration"
    )
    typer.echo(f"next: fourfold study invite {study} --raters 26, then: fourfold study serve {study}", err=True)


@app.command()
def invite(
    study: Path = _STUDY,
    raters: int = typer.Option(26, "--raters", "-r", help="How many raters to invite."),
    url: str = typer.Option("http://127.0.0.1:8400", "--url", help="Address of the study as raters reach it."),
    days: int = typer.Option(60, "--days", help="How long the links work."),
) -> None:
    """Make personal links, one a rater; they are also kept in STUDY/invitations.csv."""
    from fourfold.study import invite as invite_raters
    from fourfold.study import open_study

    for invitation in invite_raters(open_study(study, check_pictures=False), raters, url=url, days=days):
        typer.echo(f"{invitation.rater}  {invitation.link}")
    typer.echo(f"each link is one person's password; all are kept in {study / 'invitations.csv'}", err=True)


@app.command()
def serve(
    study: Path = _STUDY,
    host: str = typer.Option("127.0.0.1", "--host", help="Address to listen on; 0.0.0.0 for every network."),
    port: int = typer.Option(8400, "--port", min=0, max=65535, help="Port; 0 for any free one."),
    database: str | None = _DATABASE,
    url: str | None = typer.Option(None, "--url", help="Address as raters reach it, when behind a proxy."),
    open_places: int = typer.Option(
        0, "--open", min=0, max=100_000, metavar="N", help="Let up to N people join without a link of their own."
    ),
    days: int = typer.Option(60, "--days", min=1, max=3650, help="How long a place taken by --open is kept."),
) -> None:
    """Serve a study to its raters, with an admin page; stop it with Ctrl-C and go on at any time."""
    import signal
    import socket

    import uvicorn

    from fourfold.errors import UsageError
    from fourfold.serving.connections import bounded
    from fourfold.signals import unless_ignored
    from fourfold.study import Settings, admin_link, check_address, create_app, open_store, open_study

    if url is not None:
        check_address(url)
    checked = _counter("pictures checked")
    opened = open_study(study, progress=lambda done, total: checked(done, total, ""))
    store = open_store(database, study, study_id=opened.manifest.study_id, digest=opened.manifest.digest)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        store.close()
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror}; give another --port") from error
    shown_host = f"[{host}]" if ":" in host else host
    address = url or f"http://{shown_host}:{listening.getsockname()[1]}"
    settings = Settings(public_url=address.rstrip("/"), open_places=open_places, token_days=days)
    typer.echo(f"study  {settings.public_url}")
    typer.echo(f"admin  {admin_link(opened, settings.public_url)}")
    typer.echo("every rating is on disk before the next picture shows; Ctrl-C stops, this command goes on", err=True)
    config = uvicorn.Config(create_app(opened, store, settings), log_level="warning", timeout_graceful_shutdown=10)
    server = uvicorn.Server(bounded(config))
    # uvicorn leaves SIGHUP alone, and when it has ended raises SIGTERM once more: either would end this process before
    # the store is closed, and the ratings would be in the `-wal` file alone
    for number in unless_ignored("SIGTERM", "SIGHUP"):
        signal.signal(number, server.handle_exit)
    try:
        server.run(sockets=[listening])
    finally:
        store.close()


@app.command()
@stopping_cleanly()
def report(
    study: Path = _STUDY,
    output: Path | None = typer.Option(None, "--output", "-o", help="Folder to write; default STUDY/report."),
    database: str | None = _DATABASE,
    ratings: Path | None = typer.Option(None, "--ratings", help="An exported ratings.csv in place of the store."),
    pairs: str = typer.Option("rater", "--pairs", help="Pairs of the Wilcoxon test: rater, picture or rating."),
    exclude: str = typer.Option("", "--exclude", help="Raters to leave out, by name; the report says so."),
    screening: bool = typer.Option(False, "--screen", help="Leave out the raters that BT.500 screening rejects."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a report that is there."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON instead of a table."),
) -> None:
    """Analyse the ratings: MOS with intervals, ranks, significance, consistency, raters; one HTML page, CSV, SVG."""
    from fourfold.study import ReportRequest, make_report

    request = ReportRequest(
        study=study,
        output=output or study / "report",
        database=database,
        ratings=ratings,
        pairs=pairs,
        exclude=_words(exclude),
        screening=screening,
        overwrite=overwrite,
    )
    result = make_report(request)
    typer.echo(result.json() if as_json else result.text())
    typer.echo(f"written: {result.page}", err=True)


def _counter(what: str) -> Callable[[int, int, str], None]:
    """Returns a progress callback that keeps one line of a terminal up to date, and is silent elsewhere."""
    terminal = sys.stderr.isatty()

    def show(done: int, total: int, name: str) -> None:
        if terminal:
            line = f"{done:,} of {total:,} {what} {name}"
            typer.echo(f"\r{line:<79.79}", nl=done == total, err=True)

    return show
