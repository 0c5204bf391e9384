"""Commands of ``t5lite`` one after the other in one process, so that several processes join only once.

Arguments: the words of the second command and of those after it, as JSON; and those of the first.
"""

import json
import sys

from t5lite.cli.main import main

if __name__ == "__main__":
    for words in (sys.argv[2:], *json.loads(sys.argv[1])):
        if code := main(words):
            sys.exit(code)
