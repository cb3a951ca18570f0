"""Fourfold reports to nobody, and neither do the libraries that it loads."""

import subprocess
import sys

PROGRAM = """
import socket, sys, multiprocessing
def refuse(*args, **kwargs):
    raise SystemExit("something reaches out")
socket.getaddrinfo = socket.create_connection = multiprocessing.Process.start = refuse
import fourfold.upscaling
import openvino
assert sys.modules["openvino_telemetry"] is None
"""


def test_loading_openvino_tells_nobody() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env={"CI": "false"}, check=False
    )
    assert done.returncode == 0, done.stderr
