"""Random graphs that an older Keras made and computed: ``make`` writes, ``python -m`` compares.

In an environment of its own (``pip install tensorflow-cpu==2.15.1``, Python 3.11):
``python -m tests.differential.recorded.make FOLDER FIRST COUNT``; then, in that of the tests,
``python -m tests.differential.recorded FOLDER``.
"""
