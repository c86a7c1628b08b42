"""Random models, converted, built from the report to the letter, and run beside their source.

``python -m tests.differential --framework keras --count 2000 --seed 0``. What a hand-written list
of cases does not think of, this finds: a conversion is equal, or the report's notes make it so, or
it was refused by the layer's name; anything else is a defect, and its seed and index bring it back.
"""
