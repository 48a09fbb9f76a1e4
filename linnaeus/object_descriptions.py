"""Look up size and etag of many objects by their URIs, in whichever way is cheaper."""

import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from linnaeus.errors import StorageError
from linnaeus.locations import Entry, absent, is_local, split_uri
from linnaeus.object_stores import PAGE_KEYS
from linnaeus.storage import Folder

_THREADS = 32
_CHUNK = 256
_LISTED_PER_WANTED = 50
"""How many keys to list for one that is wanted: a page of 1,000 costs some 20 single requests."""


def describe(uris: Collection[str]) -> list[Entry]:
    """Describe objects by their absolute URIs, in the order given.

    One that is not there, or that may not be seen, has etag "" and size 0: reading it will say
    why. If the store answered for none of them, its StorageError is raised.
    """
    found: dict[str, Entry | StorageError] = {}
    for root, keys in _by_root(uris).items():
        listed = _listed(root, keys) if len(keys) > PAGE_KEYS and not is_local(root) else {}
        found |= {f"{root}/{key}": entry for key, entry in listed.items()}
        found |= _looked_up(root, [key for key in keys if key not in listed])
    answers = [found[uri] for uri in uris]
    errors = [answer for answer in answers if isinstance(answer, StorageError)]
    if errors and len(errors) == len(answers):
        raise errors[0]
    return [
        absent(uri) if isinstance(answer, StorageError) else answer
        for uri, answer in zip(uris, answers, strict=True)
    ]


def _by_root(uris: Collection[str]) -> dict[str, list[str]]:
    """Group URIs by bucket; the root of local paths is ''."""
    keys: dict[str, list[str]] = defaultdict(list)
    for uri in uris:
        if is_local(uri):
            keys[""].append(uri[1:])
        else:
            scheme, bucket, key = split_uri(uri)
            keys[f"{scheme}://{bucket}"].append(key)
    return keys


def _listed(root: str, keys: list[str]) -> dict[str, Entry]:
    """Describe keys by listing the folder they share, unless too much else lies in it."""
    wanted = set(keys)
    budget = _LISTED_PER_WANTED * len(keys)
    shared = posixpath.commonprefix(keys).rpartition("/")[0]
    # A folder's own leading slash would be taken for none.
    listing = Folder(root).list("" if shared.startswith("/") else shared)
    found = {entry.key: entry for entry in islice(listing, budget) if entry.key in wanted}
    complete = next(listing, None) is None
    return {key: absent(key) for key in keys if complete} | found


def _looked_up(root: str, keys: list[str]) -> dict[str, Entry | StorageError]:
    folder = Folder(root or "/")

    def look_up(chunk: list[str]) -> list[Entry | StorageError]:
        return [_look_up(folder, key) for key in chunk]

    size = _CHUNK if is_local(root) else 1
    with ThreadPoolExecutor(_THREADS) as pool:
        answers = [answer for found in pool.map(look_up, _chunks(keys, size)) for answer in found]
    return {f"{root}/{key}": answer for key, answer in zip(keys, answers, strict=True)}


def _chunks(keys: list[str], size: int) -> Iterator[list[str]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))


def _look_up(folder: Folder, key: str) -> Entry | StorageError:
    try:
        return folder.head(key) or absent(key)
    except StorageError as e:
        return e
