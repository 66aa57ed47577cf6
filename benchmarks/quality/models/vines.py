"""Vine copulas with kernel margins, of pyvinecopulib: its own selection of structure, families and bandwidths."""

import pyvinecopulib

from quality.models.units import standardized


@standardized
def vine_copula(x, seed):
    return pyvinecopulib.Vinedist.from_data(x).logpdf
