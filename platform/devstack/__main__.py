"""`python -m devstack up` starts everything; `python -m devstack npm …` is npm, with a Node that is new enough;
`python -m devstack chromium` makes sure that there is a browser for the tests."""

import os
import sys

from devstack import chromium
from devstack.install import node_environment
from devstack.up import up

if __name__ == "__main__":
    match sys.argv[1:]:
        case ["up"]:
            sys.exit(up())
        case ["chromium"]:
            sys.exit(chromium.main())
        case ["npm", *arguments]:
            environment = node_environment()
            os.execvpe("npm", ["npm", *arguments], environment)  # noqa: S606 - no shell is the point
        case _:
            sys.exit(__doc__)
