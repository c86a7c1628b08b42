"""What generated modules copy where they need it: what no nn layer holds.

Two files for each target, real Python that is linted and tested. Nothing here is
imported by ckptconv: ``codegen.emit.snippets`` reads it as text.
"""
