"""Convert a checkpoint and prove the copy: what a pipeline runs after each training.

    python samples/validate_roundtrip.py model.pt model.ckpt
    python samples/validate_roundtrip.py model.pt model.h5 --kind norm=LayerNorm --run

The target's suffix chooses the framework (.pt, .ckpt, .h5, .weights.h5). Three proofs, none of
which trusts the conversion: the written file is read back and compared with what was meant; every
layer computes the same from either file; and converted back again, every bit is the source's.
Exit code 0 if all hold; 1, and a line for each difference on stderr, if not.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import ckptconv

FRAMEWORKS = {".pt": "torch", ".pth": "torch", ".ckpt": "mindspore", ".h5": "keras"}


def validate(source, target, *, kinds=None, run=False):
    """Convert ``source`` to ``target``; return what differs, as lines of text."""
    to = FRAMEWORKS[Path(target).suffix]
    ckptconv.convert(source, target, to=to, kinds=kinds, force=True, check=True)
    proof = ckptconv.verify(source, target, kinds=kinds, target_kinds=kinds, run=run)
    differences = [f"{target}: {failure}" for failure in proof.failures]
    with tempfile.TemporaryDirectory() as folder:
        # The report keeps the two biases of which Keras has only the sum.
        report = Path(folder, "report.json")
        back = ckptconv.roundtrip(source, via=to, kinds=kinds, report=report)
    differences += [f"{back.b['path']}: {t.a or t.b}: {t.verdict}" for t in back.different]
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--kind", action="append", default=[], metavar="PATH=KIND")
    parser.add_argument("--run", action="store_true", help="also in the frameworks themselves")
    given = parser.parse_args()
    kinds = dict(item.split("=", 1) for item in given.kind)
    try:
        differences = validate(given.source, given.target, kinds=kinds, run=given.run)
    except ckptconv.CkptconvError as error:
        differences = [str(error)]
    for line in differences:
        print(line, file=sys.stderr)
    if not differences:
        print(f"{given.target}: the same model as {given.source}, bit for bit there and back")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
