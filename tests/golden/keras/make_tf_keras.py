"""Golden files of the tf_keras package: ``python make_tf_keras.py OUTDIR``.

Python 3.11: tf-keras==2.21.0 tensorflow-cpu==2.21.0
"""

import sys

import golden as g
import tensorflow as tf
import tf_keras
from make_tf2 import Family


def main(outdir):
    name = f"tf_keras {tf_keras.__version__} / TF {tf.__version__}"
    family = Family(tf_keras, g.Writer(outdir, "tfkeras221", name, "make_tf_keras.py"))
    family.legacy()
    family.weights("main", g.main_model(tf_keras), g.TOKENS)
    family.legacy_more()
    family.group_layout("weights h5, root layers")
    family.archive("keras zip, root layers")


if __name__ == "__main__":
    main(sys.argv[1])
