"""Double precision for everything that this package computes with JAX.

Importing pyhf's JAX backend does the same, so this changes nothing for a process that uses pyhf.
A likelihood needs it: q0 is a difference of order one between sums of order 1e7.
"""

import jax

jax.config.update("jax_enable_x64", True)
