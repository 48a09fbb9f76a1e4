"""The decoding child: `python -m linnaeus.images TASK`, started by `isolation` alone."""

import sys

from linnaeus.images.isolation import serve

if __name__ == "__main__":
    serve(sys.argv[1])
