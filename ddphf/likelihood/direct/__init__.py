"""Single fits of any compiled model in plain numpy: the same steps, and nothing to compile.

A program of XLA takes a second and more to compile and is worth it for thousands of fits: those are
in :mod:`ddphf.likelihood.general`. One fit takes milliseconds here, whatever the structure.
"""
