"""``make process``: every line of the process, and the tests that hold it."""

from __future__ import annotations

import ast
from pathlib import Path

LINES = {
    1: "the first line is the point of contact", 2: "at any hour", 3: "an escalation hands over a summary",
    4: "a call with the user", 5: "critical ones at L3, to a complete solution", 6: "what may happen soon",
    7: "logging", 8: "category before assignment", 9: "priority", 10: "initial diagnosis",
    11: "escalating and informing", 12: "resolution in the shortest time", 13: "closure and reopening",
    14: "telling the users", 15: "incident or request", 16: "the report as it was told", 17: "every step on record",
    18: "past solutions", 19: "questions, and a clock that waits", 20: "hypothesis and fix",
    21: "a response that prevents", 22: "restored and solved", 23: "closed out with the reporter",
    24: "first response", 25: "resolution", 26: "a clock warns and escalates", 27: "confidential from the first byte",
    28: "L3, a named person, the regulator's clock", 29: "checklist, register, export",
}  # fmt: skip


def main() -> None:
    found: dict[int, list[str]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name.startswith("test_P"):
                found.setdefault(int(node.name[6:8]), []).append(node.name)
    for number, line in LINES.items():
        print(f"P{number:02d}  {line}")
        for name in found.get(number, ["no test yet"]):
            print(f"       {name}")
    print(f"\n{len(found)} of {len(LINES)} lines have a test")


if __name__ == "__main__":
    main()
