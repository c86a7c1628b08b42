"""Convert a folder of checkpoints on a Dask cluster.

    python samples/batch_dask.py SRC_DIR DST_DIR [SCHEDULER]

Without SCHEDULER a cluster of two local processes is started. Run it again after a crash: what is
done and unchanged is skipped.
"""

import sys

import dask
from distributed import Client

from ckptconv import convert_many
from ckptconv.batch import FAILED, find

dask.config.set({"distributed.worker.profile.enabled": False})  # which would sample all the time


def main(source: str, target: str, scheduler: str | None = None) -> int:
    options = {} if scheduler else {"n_workers": 2, "threads_per_worker": 1}
    with Client(scheduler, dashboard_address=None, **options) as client:
        outcomes = convert_many(
            find(source, target, ".ckpt"), to="mindspore", executor=client.get_executor()
        )
    for outcome in outcomes:
        print(f"{outcome.status}: {outcome.source} {outcome.error}".rstrip())
    return int(any(outcome.status == FAILED for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
