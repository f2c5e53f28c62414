"""The drawing process: requests on standard input, pictures on standard output, until the input ends.

``python -m detector.charts.worker`` imports vl-convert and nothing else of the product. Each frame is a length (4
bytes, big endian) and that many bytes: a request is JSON ``{"kind": "svg" | "png", "spec": {...}, "scale": 2}``; an
answer begins with ``+`` (the picture follows) or ``-`` (a reason follows). It may be killed at any time.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import Any, BinaryIO

LENGTH = struct.Struct(">I")


def main() -> None:
    # Whatever the engine prints must not get between the frames.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Pages and pages' data come first where cores are few.
    os.nice(5)
    serve(sys.stdin.buffer, answers)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    while len(head := requests.read(LENGTH.size)) == LENGTH.size:
        body = requests.read(LENGTH.unpack(head)[0])
        try:
            answer = b"+" + draw(json.loads(body))
        except Exception as error:  # noqa: BLE001 - one bad specification must not end the process
            answer = b"-" + f"{type(error).__name__}: {str(error)[:300]}".encode("utf-8", "replace")
        answers.write(LENGTH.pack(len(answer)) + answer)
        answers.flush()


def draw(request: dict[str, Any]) -> bytes:
    import vl_convert

    # No base address is allowed: a specification cannot make this process fetch anything.
    if request["kind"] == "svg":
        svg: str = vl_convert.vegalite_to_svg(request["spec"], allowed_base_urls=[])
        return svg.encode()
    scale = float(request.get("scale", 2))
    png: bytes = vl_convert.vegalite_to_png(request["spec"], scale=scale, allowed_base_urls=[])
    return png


if __name__ == "__main__":
    main()
