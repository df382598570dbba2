"""Run a file's COMMANDS for whoever holds our pipes: a JSON object in, a JSON object out, a line each.

    python answering.py sdk.py
    → {"do": "sync", "with": {…}}    ← {"value": …}  or  {"error": "TypeError", "text": "…"}

Standard library only: it runs inside the environments of client releases.
"""

import json
import os
import runpy
import sys


def main() -> None:
    commands = runpy.run_path(sys.argv[1])["COMMANDS"]
    # What the program under test prints goes to the log, not between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": commands[request["do"]](**request["with"])}
        except Exception as error:  # noqa: BLE001 - every failure of a release is a result, for the test to judge
            answer = {"error": type(error).__name__, "text": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
