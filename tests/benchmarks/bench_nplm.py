"""Adam here against NPLM_package's own training in Keras, same network and data, in one run.

An environment of its own has the package, which wants TensorFlow with Keras 2:

    python3.11 -m venv keras
    keras/bin/pip install tensorflow-cpu==2.15.1 'numpy<2' h5py scipy matplotlib
    keras/bin/pip install --no-deps NPLM==0.0.6
    git clone https://github.com/GaiaGrosso/NPLM_package

    python tests/benchmarks/bench_nplm.py keras/bin/python NPLM_package/src

Release 0.0.6 trains by model.fit in one batch; the repository has a loop of its own since, train_model. Either is
run as it is, but for metrics of model.fit that later versions of Keras refuse there and that are left out.
"""  # noqa: E501

import subprocess
import sys
import time

import numpy as np

EPOCHS = 300


def data():
    rng = np.random.default_rng(1)
    return 8 * rng.exponential(1 / 8, (4000, 1)), rng.random(4000) < 0.5


def keras(how, folder=None):
    """Print processor ms an epoch of the package's training; runs where TensorFlow is."""
    import os

    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if folder is not None:
        sys.path.insert(0, folder)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from NPLM import NNutils

    x, y = data()
    x, y = x.astype(np.float32), y[:, None].astype(np.float32)
    target = np.concatenate([y, np.ones_like(y)], axis=1)
    if how == "fit":
        NNutils.imperfect_model.add_metric = lambda *_, **__: None
    nuisances = ([0.0], [0.0], [0.0], [1.0], 0.0, 0.0, 0.0, 1.0)
    model = NNutils.imperfect_model(
        (None, 1), *nuisances, BSMarchitecture=[1, 4, 1], BSMweight_clipping=7.0, correction=""
    )
    adam = tf.keras.optimizers.legacy.Adam()
    if how == "fit":
        model.compile(loss=NNutils.imperfect_loss, optimizer=adam)

        def train(epochs):
            model.fit(x, target, batch_size=len(x), epochs=epochs, verbose=False)
    else:
        model.nu_n, model.nu_s = tf.constant(0.0), tf.constant([0.0])  # which it writes down

        def train(epochs):
            NNutils.train_model(model, x, target, NNutils.imperfect_loss, adam, epochs, 10**9)

    train(20)
    start = time.process_time()
    train(EPOCHS)
    print((time.process_time() - start) / EPOCHS * 1e3)


def main(python, folder):
    from ddphf.learning.groups import group_events
    from ddphf.learning.labels import make_labels
    from ddphf.learning.nplm import AdamTest

    x, y = data()
    own = {}
    for name, groups in (("every event", 10**9), ("400 groups", 400)):
        events = group_events(x, make_labels(y), groups)
        test = AdamTest(events, epochs=10_000, clip=7.0)
        counts = events.sums(y.astype(float)[:, None])
        test.fit(counts)
        start = time.process_time()
        test.fit(counts)
        own[name] = (time.process_time() - start) / 20_000 * 1e3  # f and g
        print(f"{f'here, {name}':40s} {own[name]:8.4f} ms an epoch")
    for how, arguments in (("fit", ()), ("train_model", (folder,))):
        command = [python, __file__, "--keras", how, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        spent = float(done.stdout.split()[-1])
        ratios = ", ".join(f"{spent / t:.0f} x {name}" for name, t in own.items())
        print(f"{f'NPLM_package, {how}':40s} {spent:8.4f} ms an epoch: {ratios}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--keras"]:
        keras(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
