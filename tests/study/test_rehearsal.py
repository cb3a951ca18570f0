"""The whole chain with 26 simulated raters of known bias and noise: create, serve, rate over HTTP, report."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from fourfold.study import ReportRequest, invite, make_report, open_study
from fourfold.study.simulation import SimulatedRater, expected_score, make_raters
from tests.study.serving import ServedStudy

pytestmark = pytest.mark.slow

LIKED = {"nearest": 1.4, "bicubic": 2.5, "hr": 4.3}


def rate_everything(link: str, url: str, rater: SimulatedRater, seen: dict[str, str], seed: int) -> None:
    """Rates what the page would show; ``seen`` tells the method of a picture by its bytes, as eyes would."""
    rng = np.random.default_rng(seed)
    with httpx.Client(base_url=url, timeout=60, trust_env=False, follow_redirects=True) as http:
        http.get(link).raise_for_status()
        state = http.get("/api/state").json()
        while state["phase"] != "done":
            now = state["current"]
            method = seen[http.get(now["url"]).content.hex()]
            rating = {
                "picture": now["picture"],
                "position": now["position"],
                "score": now["anchor"] or rater.rate(LIKED[method], rng),
                "nonce": f"nonce-{now['position']:06d}",
            }
            answer = http.post("/api/rating", json=rating)
            answer.raise_for_status()
            state = answer.json()


def test_the_report_gives_back_what_was_put_in(own_study: Path, tmp_path: Path) -> None:
    study = open_study(own_study)
    seen = {study.picture(s.id).hex(): s.method for s in study.manifest.stimuli.values()}
    raters = make_raters(26, np.random.default_rng(5))
    with ServedStudy(own_study, log=tmp_path / "log") as server:
        links = [one.link for one in invite(study, 26, url=server.url, days=1)]
        with ThreadPoolExecutor(4) as pool:
            jobs = [
                pool.submit(rate_everything, link, server.url, rater, seen, n)
                for n, (link, rater) in enumerate(zip(links, raters, strict=True))
            ]
            for job in jobs:
                job.result()
    report = make_report(ReportRequest(own_study, tmp_path / "report"))
    biases, noise = np.array([rater.bias for rater in raters]), np.array([rater.inconsistency for rater in raters])
    # of these 26, whose mean bias is not nought
    truth = {method: expected_score(quality, biases, noise).mean() for method, quality in LIKED.items()}
    for one in (opinion for found in report.analysis.sets for opinion in found.opinions):
        interval = f"{one.mos:.2f} ({one.low:.2f}..{one.high:.2f})"
        print(f"{one.set_name} {one.method}: {interval}, put in {truth[one.method]:.2f}")
        assert abs(one.mos - truth[one.method]) < 0.3  # four standard errors
        assert one.ratings == 26 * (3 if one.set_name == "Set5" else 4)
    assert all(c.significant for found in report.analysis.sets for c in found.comparisons)
    fitted = np.array([rater.bias for rater in sorted(report.analysis.raters, key=lambda r: r.rater)])
    correlation = np.corrcoef(biases, fitted)[0, 1]
    print(f"biases: correlation {correlation:.3f}")
    assert correlation > 0.6  # 21 ratings tell a bias to 0.15 or so; of 300 such studies made up, the least had 0.67
    assert report.analysis.consistency is not None
    assert report.analysis.consistency.pairs == 26 * 3
