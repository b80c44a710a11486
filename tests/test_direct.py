"""Single fits in numpy against the same mathematics in JAX: derivatives, matrices, minima."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from engine_models import general_models

from ddphf.likelihood.compiled import CompiledModel
from ddphf.likelihood.direct import interpolation as direct
from ddphf.likelihood.direct import newton
from ddphf.likelihood.direct.matrix import factorise
from ddphf.likelihood.general.arrays import logpdf
from ddphf.likelihood.interpolation import (
    histosys_weights,
    normsys_coefficients,
    normsys_factor,
)
