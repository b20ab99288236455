"""A worker that crashes and hangs on request; imports nothing that is slow."""

import os
import signal
import time
from typing import Any


def run(connection: Any, cancelled: Any, settings: Any) -> None:
    """Stands for `server.worker.run`: the kind of a job says what it does."""
    os.setpgid(0, 0)
    connection.send(("ready", {"tiny": os.getpid()}))
    while True:
        job = connection.recv()
        if job.kind == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        while job.kind == "hang" or (job.kind == "wait" and not cancelled.is_set()):
            time.sleep(0.01)
        if job.kind == "change_tags":
            time.sleep(0.3)
            if not cancelled.is_set():
                job.path.touch()
        if job.kind == "mistake":
            connection.send(("error", "is wrong"))
        else:
            connection.send(("progress", {"stage": "decoding"}))
            connection.send(("result", {"process": os.getpid(), **job.options}))
