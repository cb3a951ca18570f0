"""A soak and fault test of ``fourfold serve`` on loopback.

A real server process, a bounded load from this process: good, bad and hostile pictures, clients that hang up, jobs
that are cancelled, and a worker that is killed every few seconds. At the end every accepted job must have an end,
every result must be whole and of the right size, and the memory of server and worker must be flat.

    python benchmarks/serving.py --seconds 120
    python benchmarks/serving.py --seconds 600 --clients 8 --kill-every 20 --model srresnet-mse
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from fourfold.imaging import Picture, encode_picture, read_picture
from fourfold.weights import WeightsConfig, expected_shapes, write_weights

SIDES = (24, 32, 48, 64, 96)
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: Problems that a busy server may answer with; the client then tries again.
LATER = {"queue-full", "too-many-jobs", "storage-full"}
#: Faulty input -> problems that are right for it, at once or later in the job.
FAULTS = {
    "empty": {"empty-upload"},
    "text": {"unsupported-media"},
    "noise": {"unsupported-media"},
    "truncated": {"unreadable-picture"},
    "bomb": {"picture-too-large", "unreadable-picture"},
    "oversized": {"upload-too-large"},
    "unknown model": {"unknown-model"},
    "bad fidelity": {"invalid-parameter"},
    "bad format": {"invalid-parameter"},
}


@dataclass
class Tally:
    """What happened."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    status_s: list[float] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    again: int = 0
    kills: int = 0
    memory: list[tuple[float, int, int]] = field(default_factory=list)


def picture(rng: random.Random) -> tuple[bytes, int, int, str]:
    """Returns a made-up picture with its width, height and format."""
    width, height = rng.choice(SIDES), rng.choice(SIDES)
    pixels = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    format = rng.choice(("png", "png", "jpg", "webp", "tiff"))
    return encode_picture(Picture(pixels), format), width, height, format


def fault(rng: random.Random) -> tuple[str, bytes, dict[str, str]]:
    """Returns a faulty request: its kind, body and parameters."""
    kind = rng.choice(list(FAULTS))
    body, _, _, _ = picture(rng)
    query: dict[str, str] = {}
    if kind == "empty":
        body = b""
    elif kind == "text":
        body = b"<!doctype html><script>alert(1)</script>"
    elif kind == "noise":
        body = b"\0" + rng.randbytes(4000)
    elif kind == "truncated":
        body = encode_picture(Picture(np.full((64, 64, 3), rng.randrange(256), np.uint8)), "jpg")[:-200]
    elif kind == "bomb":
        body = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (2**31 - 1).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0" + b"\0" * 64
    elif kind == "oversized":
        body = b"\x89PNG\r\n\x1a\n" + b"\0" * (3 << 20)
    else:
        query = {"unknown model": {"model": "../../etc/passwd"}, "bad fidelity": {"fidelity": "7"}}.get(
            kind, {"format": "exe"}
        )
    return kind, body, query


def tiny_model(folder: Path) -> Path:
    """Writes a small random network, so that the test is of the server and not of the network."""
    parameters = {"blocks": 2, "width": 8}
    rng = np.random.default_rng(0)
    tensors = {
        name: np.abs(rng.normal(0.0, 0.1, shape)).astype(np.float32)
        for name, shape in expected_shapes("srresnet", parameters).items()
    }
    return write_weights(folder / "tiny.safetensors", WeightsConfig("srresnet", parameters, name="tiny"), tensors)


class Soak:
    """The load, and the eye on the server."""

    def __init__(self, options: argparse.Namespace, url: str, pid: int) -> None:
        self.options, self.url, self.pid = options, url, pid
        self.tally = Tally()
        self.until = time.monotonic() + options.seconds

    @property
    def running(self) -> bool:
        """Whether the load goes on."""
        return time.monotonic() < self.until

    async def run(self) -> None:
        """Runs everything side by side, then waits for the ends."""
        clients = [self.client(number) for number in range(self.options.clients)]
        await asyncio.gather(self.watch(), self.killer(), *clients)
        await self.settle()

    async def client(self, number: int) -> None:
        """One client: mostly good pictures, now and then something else."""
        rng = random.Random(number)
        async with httpx.AsyncClient(base_url=self.url, timeout=120.0, trust_env=False) as http:
            while self.running:
                dice = rng.random()
                if dice < 0.25:
                    await self.send_fault(http, rng)
                elif dice < 0.30:
                    await self.hang_up(rng)
                elif dice < 0.40:
                    await self.cancelled_job(http, rng)
                elif dice < 0.55:
                    await self.at_once(http, rng)
                else:
                    await self.whole_job(http, rng)

    async def submit(self, http: httpx.AsyncClient, body: bytes, query: dict[str, str]) -> httpx.Response:
        """Submits until the server has room."""
        while True:
            answer = await http.post("/v1/jobs", content=body, params=query)
            if answer.status_code not in (429, 503) or problem_of(answer) not in LATER:
                break
            self.tally.again += 1
            await asyncio.sleep(min(1.0, float(answer.headers["retry-after"])))
        if answer.status_code == 202:
            self.tally.accepted[answer.json()["id"]] = "?"
        return answer

    async def whole_job(self, http: httpx.AsyncClient, rng: random.Random) -> None:
        """A good picture as a job, followed by events, its result fetched and checked."""
        body, width, height, format = picture(rng)
        started = time.monotonic()
        answer = await self.submit(http, body, {})
        if answer.status_code != 202:
            self.tally.wrong.append(f"a good {format} was answered {answer.status_code}: {answer.text[:200]}")
            return
        job = await self.follow(http, answer.json()["id"])
        if job["state"] != "done":
            self.tally.wrong.append(f"a good {format} of {width}x{height} {job['state']}: {job['problem']}")
            return
        result = await http.get(f"/v1/jobs/{job['id']}/result")
        self.tally.latency_s.append(time.monotonic() - started)
        self.check(result.content, width, height)

    async def follow(self, http: httpx.AsyncClient, job_id: str) -> dict:
        """Follows a job by its events to the end."""
        job: dict = {}
        async with http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {") and len(line) > 10:
                    job = json.loads(line[6:])
        self.tally.accepted[job_id] = str(job.get("state", "?"))
        return job

    async def at_once(self, http: httpx.AsyncClient, rng: random.Random) -> None:
        """A good picture by the synchronous call."""
        body, width, height, format = picture(rng)
        answer = await http.post("/v1/upscale", content=body)
        if answer.status_code == 200:
            self.tally.outcomes["at once"] += 1
            self.check(answer.content, width, height)
        elif problem_of(answer) in LATER:
            self.tally.again += 1
        else:
            self.tally.wrong.append(f"at once, a good {format}: {answer.status_code} {answer.text[:200]}")

    def check(self, data: bytes, width: int, height: int) -> None:
        """Decodes a result and notes a wrong size."""
        result = read_picture(data)
        if (result.width, result.height) != (4 * width, 4 * height):
            self.tally.wrong.append(f"{width}x{height} became {result.width}x{result.height}")

    async def cancelled_job(self, http: httpx.AsyncClient, rng: random.Random) -> None:
        """A job that is cancelled a moment later."""
        answer = await self.submit(http, picture(rng)[0], {})
        if answer.status_code == 202:
            await asyncio.sleep(rng.random() * 0.2)
            job = (await http.delete(f"/v1/jobs/{answer.json()['id']}")).json()
            if job["state"] in ("expired", "cancelled"):  # deleted when it was done already, or never begun
                self.tally.accepted[job["id"]] = "cancelled"

    async def send_fault(self, http: httpx.AsyncClient, rng: random.Random) -> None:
        """Something that must be refused, and for the right reason."""
        kind, body, query = fault(rng)
        try:
            answer = await self.submit(http, body, query)
        except httpx.TransportError:
            # refused while it was still sending; that is an answer, too
            self.tally.faults[f"{kind}: connection closed"] += 1
            return
        problem = problem_of(answer)
        if answer.status_code == 202:
            job = await self.follow(http, answer.json()["id"])
            problem = job["problem"]["type"].rsplit("/", 1)[-1] if job["problem"] else job["state"]
        self.tally.faults[f"{kind}: {problem}"] += 1
        if problem not in FAULTS[kind]:
            self.tally.wrong.append(f"{kind} was answered with {problem}: {answer.text[:200]}")

    async def hang_up(self, rng: random.Random) -> None:
        """Announces a picture, sends half of it and goes."""
        host, port = self.url.removeprefix("http://").split(":")
        body = picture(rng)[0]
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body[: len(body) // 2])
        await writer.drain()
        writer.close()
        self.tally.faults["hung up"] += 1

    async def killer(self) -> None:
        """Ends the worker every few seconds with a signal that it cannot catch."""
        while self.options.kill_every and self.running:
            await asyncio.sleep(self.options.kill_every)
            for pid in children(self.pid):
                if b"serving.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    self.tally.kills += 1

    async def watch(self) -> None:
        """Measures memory, and how fast the server answers while it works."""
        started = time.monotonic()
        async with httpx.AsyncClient(base_url=self.url, timeout=60.0, trust_env=False) as http:
            while self.running:
                before = time.monotonic()
                await http.get("/v1/health")
                self.tally.status_s.append(time.monotonic() - before)
                worker = max((resident(pid) for pid in children(self.pid)), default=0)
                self.tally.memory.append((time.monotonic() - started, resident(self.pid), worker))
                await asyncio.sleep(0.5)

    async def settle(self) -> None:
        """Waits for the end of every accepted job."""
        async with httpx.AsyncClient(base_url=self.url, timeout=60.0, trust_env=False) as http:
            until = time.monotonic() + 120
            while "?" in self.tally.accepted.values() and time.monotonic() < until:
                for job_id in [job for job, state in self.tally.accepted.items() if state == "?"]:
                    answer = await http.get(f"/v1/jobs/{job_id}")
                    state = answer.json().get("state", f"answer {answer.status_code}")
                    if state not in ("queued", "running"):
                        self.tally.accepted[job_id] = state
                await asyncio.sleep(0.2)
        self.tally.outcomes.update(self.tally.accepted.values())


def problem_of(answer: httpx.Response) -> str:
    """Returns the kind of problem of an answer, or an empty text."""
    kind = answer.headers.get("content-type", "")
    return answer.json()["type"].rsplit("/", 1)[-1] if kind == "application/problem+json" else ""


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0


def percentiles(values: list[float]) -> str:
    """Returns median, 90th, 99th percentile and maximum, in milliseconds."""
    if not values:
        return "none"
    found = np.percentile(values, [50, 90, 99, 100]) * 1000
    return ", ".join(f"{name} {value:.0f} ms" for name, value in zip(("p50", "p90", "p99", "max"), found, strict=True))


def mebi(values: list[int]) -> str:
    return f"{np.median(values) / 2**20:.0f} MiB"


def report(tally: Tally, seconds: float) -> bool:
    """Prints what happened and returns whether all is well."""
    third = max(1, len(tally.memory) // 3)
    early, late = tally.memory[third : 2 * third], tally.memory[-third:]
    print(f"accepted {len(tally.accepted)} jobs in {seconds:.0f} s; refused as full and sent again {tally.again} times")
    print("ends:    " + ", ".join(f"{state} {count}" for state, count in sorted(tally.outcomes.items())))
    print("faults:  " + "; ".join(f"{kind} {count}" for kind, count in sorted(tally.faults.items())))
    print(f"worker killed {tally.kills} times")
    print(f"job, submission to result in hand: {percentiles(tally.latency_s)} ({len(tally.latency_s)} jobs)")
    print(f"health while it works: {percentiles(tally.status_s)} ({len(tally.status_s)} calls)")
    print(f"server memory: middle third {mebi([m[1] for m in early])}, last third {mebi([m[1] for m in late])}")
    print(f"worker memory: middle third {mebi([m[2] for m in early])}, last third {mebi([m[2] for m in late])}")
    lost = [job for job, state in tally.accepted.items() if state == "?" or state.startswith("answer")]
    growth = np.median([m[1] for m in late]) / np.median([m[1] for m in early]) - 1
    for text in tally.wrong[:10]:
        print(f"WRONG: {text}")
    print(f"lost {len(lost)}, wrong {len(tally.wrong)}, server memory {100 * growth:+.1f} %")
    return not lost and not tally.wrong and growth < 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description="A soak and fault test of fourfold serve on loopback.")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument(
        "--kill-every", type=float, default=15.0, help="seconds between kills of the worker; 0 for none"
    )
    parser.add_argument("--model", default="", help="a shipped name or a weights file; a tiny network by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or str(tiny_model(Path(folder)))
        command = [str(Path(sys.executable).with_name("fourfold")), "serve", "--port", "0", "-n", model]
        limits = ["--queue-length", "16", "--jobs-per-client", "64", "--max-upload", "2M", "--keep", "20"]
        server = subprocess.Popen([*command, *limits, "--max-megapixels", "0.5"], stderr=subprocess.PIPE, text=True)
        assert server.stderr is not None
        url = re.search(r"http://[\d.:]+", server.stderr.readline())
        assert url is not None
        log = Path(folder) / "log"
        drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=log.open("w"))
        soak = Soak(options, url[0], server.pid)
        asyncio.run(soak.run())
        well = report(soak.tally, options.seconds)
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)
        drain.wait(10)
        errors = [line for line in log.read_text().splitlines() if "incident" in line or "ERROR" in line]
        print(f"stopped by SIGTERM with code {code}; errors in the log: {len(errors)}")
        for line in errors[:5]:
            print(f"LOG: {line}")
    return 0 if well and not errors else 1


if __name__ == "__main__":
    sys.exit(main())
