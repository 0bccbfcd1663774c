"""One of several processes that all want the same money: `reserve_many.py URL ORG ATT...`, replies as JSON.

Every attempt is asked for twice, as a client does that lost its first answer. Waits for a line on stdin, so that
all begin together.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from fakes.books import Desk

AMOUNT = 10


def main() -> None:
    url, org, *atts = sys.argv[1:]
    desk = Desk(url, org)
    desk.find("warm")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()

    def ask(att: str) -> list[list[str]]:
        return [desk.reserve(att, AMOUNT) for _ in range(2)]

    with ThreadPoolExecutor(8) as pool:
        sys.stdout.write(json.dumps(dict(zip(atts, pool.map(ask, atts), strict=True))))


if __name__ == "__main__":
    main()
