"""Golden files of tf.keras in TensorFlow 2: ``python make_tf2.py OUTDIR``.

One environment per version; the version that is installed decides what is written:

* TF 2.2, Python 3.7: tensorflow-cpu==2.2.0 h5py==2.10.0 numpy==1.18.5 protobuf<3.20
* TF 2.12, Python 3.9: tensorflow-cpu==2.12.0
"""

import sys

import golden as g

SIG = {"recurrent_activation": "sigmoid"}
LEGACY, FULL = "legacy h5", "legacy h5, full model (/model_weights)"
RESET = "GRU with reset_after=False"


class Family:
    """Writes the set for one Keras module (tf.keras or tf_keras)."""

    def __init__(self, keras, writer):
        self.keras, self.w = keras, writer

    def fresh(self):
        self.keras.backend.clear_session()

    def weights(self, stem, model, x, must="convert", why="", suffix=".h5", layout=LEGACY):
        model.save_weights(self.w.path(stem, suffix))
        self.w.record(stem, suffix, model, x, layout, must, why)

    def full(self, stem, model, x, must="convert", why="", suffix=".h5", layout=FULL, **kwargs):
        model.save(self.w.path(stem, suffix), **kwargs)
        self.w.record(stem, suffix, model, x, layout, must, why)

    def legacy(self):
        """The legacy layout, in every version."""
        self.fresh()
        self.full("main_full", g.main_model(self.keras), g.TOKENS)
        self.full(
            "hard_full",
            g.lstm_only(self.keras, recurrent_activation="hard_sigmoid"),
            g.X3,
            "refuse",
            "recurrent_activation is hard_sigmoid",
        )
        self.full("gru_ra0_full", g.gru_only(self.keras, reset_after=False), g.X3, "refuse", RESET)
        self.fresh()
        self.weights("two_unnamed", g.two_unnamed(self.keras), g.X3)
        self.full("stacked_full", g.stacked_cells(self.keras), g.X3)

    def legacy_more(self):
        self.weights("gru_ra0", g.gru_only(self.keras, reset_after=False), g.X3, "refuse", RESET)
        self.full(
            "bi_sum_full",
            g.bidirectional(self.keras, "sum"),
            g.X3,
            "refuse",
            "Bidirectional with merge_mode sum",
        )
        self.full("nested_full", g.nested(self.keras), g.TOKENS)
        self.weights("td", g.time_distributed(self.keras), g.X3)
        self.weights("cells", g.rnn_cells(self.keras), g.X3)
        self.weights("conv1d", g.conv1d(self.keras), g.X3)
        self.weights("conv2d", g.conv2d(self.keras), g.X_IMAGE)
        self.full(
            "lambda_full",
            g.with_lambda(self.keras),
            g.X3,
            "convert",
            "a Lambda layer with marshalled code in model_config: must not be run",
        )

    def group_layout(self, layout, more=True):
        """The `.weights.h5` layout of class names and counters."""
        kind = {"suffix": ".weights.h5", "layout": layout}
        model = g.main_model(self.keras)
        if more:
            g.train_once(model, g.TOKENS)
        self.weights("l2_main", model, g.TOKENS, **kind)
        self.fresh()
        self.weights("l2_counters", g.counters(self.keras, 11 if more else 6), g.X3, **kind)
        self.weights("l2_nested", g.nested(self.keras), g.TOKENS, **kind)
        self.weights("l2_cells", g.rnn_cells(self.keras), g.X3, **kind)
        self.weights("l2_stacked", g.stacked_cells(self.keras), g.X3, **kind)
        if not more:
            return
        self.weights(
            "l2_gru_ra0", g.gru_only(self.keras, reset_after=False), g.X3, "refuse", RESET, **kind
        )
        self.weights("l2_td", g.time_distributed(self.keras), g.X3, **kind)
        self.weights("l2_conv1d", g.conv1d(self.keras), g.X3, **kind)
        self.weights("l2_conv2d", g.conv2d(self.keras), g.X_IMAGE, **kind)

    def archive(self, layout, more=True, **kwargs):
        """`.keras` zip archives."""
        kind = dict(kwargs, suffix=".keras", layout=layout)
        self.full("zip_main", g.main_model(self.keras), g.TOKENS, **kind)
        self.full(
            "zip_hard",
            g.lstm_only(self.keras, recurrent_activation="hard_sigmoid"),
            g.X3,
            "refuse",
            "recurrent_activation is hard_sigmoid",
            **kind,
        )
        self.fresh()
        g.counters(self.keras, 2)  # so that the names start at lstm_2, the groups at lstm
        self.full("zip_counters", g.counters(self.keras, 3), g.X3, **kind)
        if not more:
            return
        self.full("zip_nested", g.nested(self.keras), g.TOKENS, **kind)
        self.full(
            "zip_bi_sum",
            g.bidirectional(self.keras, "sum"),
            g.X3,
            "refuse",
            "Bidirectional with merge_mode sum",
            **kind,
        )


def main(outdir):
    import tensorflow as tf

    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    prefix = "tf{}{}".format(*version)
    writer = g.Writer(outdir, prefix, "tf.keras of TF " + tf.__version__, "make_tf2.py")
    family = Family(tf.keras, writer)
    family.legacy()
    model = g.lstm_only(tf.keras)
    if version < (2, 12):
        family.weights(
            "dotweights",
            model,
            g.X3,
            suffix=".weights.h5",
            layout="legacy h5, in spite of the suffix .weights.h5",
        )
        family.full("nested_full", g.nested(tf.keras), g.TOKENS)
        return
    family.weights("main", g.main_model(tf.keras), g.TOKENS)
    family.full(
        "keras_is_hdf5",
        model,
        g.X3,
        suffix=".keras",
        layout="legacy h5, full model, in spite of the suffix .keras",
    )
    root = "root _layer_checkpoint_dependencies"
    family.group_layout("weights h5, " + root, more=False)
    family.archive("keras zip, " + root, more=False, save_format="keras_v3")


if __name__ == "__main__":
    main(sys.argv[1])
