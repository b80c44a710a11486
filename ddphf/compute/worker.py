"""A worker process: reads blocks on its standard input, writes their pieces to standard output.

It ends when its input does, in the middle of a block too: none outlives the process that started
it, whatever ended that one.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import struct
import threading
import traceback
from typing import Any, BinaryIO

from ddphf.compute.tasks import Packed, do_blocks

__all__ = ["main", "read_frame", "write_frame"]

LENGTH = struct.Struct("!Q")


def write_frame(stream: BinaryIO, content: Any) -> None:
    """Write one message."""
    frame = pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(LENGTH.pack(len(frame)))
    stream.write(frame)
    stream.flush()


def read_frame(stream: BinaryIO) -> Any:
    """Read one message.

    Raises:
        EOFError: There is none, or half of one.
    """
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    (length,) = LENGTH.unpack(head)
    frame = stream.read(length)
    if len(frame) < length:
        raise EOFError
    return pickle.loads(frame)


def main() -> None:
    """Do blocks until nobody asks for any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it ends it
    asked = os.fdopen(os.dup(0), "rb")
    told = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a library prints is no piece
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked, messages), daemon=True).start()
    packed: Packed | None = None
    while True:
        task, bundle = messages.get()
        packed = packed if task is None else task
        assert packed is not None
        write_frame(told, _answer(packed, bundle))


def _listen(asked: BinaryIO, messages: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            messages.put(read_frame(asked))
        except EOFError:
            os._exit(0)


def _answer(packed: Packed, bundle: list[Any]) -> tuple[bool, Any]:
    """Return whether the blocks were done, and their pieces or the error."""
    try:
        return True, do_blocks(packed, bundle)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # not every error of a library can be sent
            error = RuntimeError(f"{type(error).__name__}: {error}")
        error.add_note("In a worker process:\n" + traceback.format_exc())
        return False, error
