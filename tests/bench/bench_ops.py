"""The suite of layers by each algorithm: `dashfx bench-ops`, whose options this script takes.

python tests/bench/bench_ops.py --repeats 9 --layers '2-D*'
"""

import sys

from dashfx.cli.main import run

if __name__ == "__main__":
    sys.exit(run(["bench-ops", *sys.argv[1:]]))
