"""A model's weights in few bytes: as numbers of less precision, as factors, as a file."""

from tuner.packing.container import Packed, pack, unpack
from tuner.packing.factors import factorise, multiply_out
from tuner.packing.formats import NumberFormat, store
from tuner.packing.rows import choose_rows, new_numbers
from tuner.packing.sparsity import largest_mask
from tuner.packing.stored import TABLE, Floats, Stored
from tuner.packing.variants import QUICK, STEPS, Size, Step, Variant, candidates, read_variant

__all__ = [
    "Packed",
    "pack",
    "unpack",
    "factorise",
    "multiply_out",
    "NumberFormat",
    "store",
    "choose_rows",
    "new_numbers",
    "largest_mask",
    "TABLE",
    "Floats",
    "Stored",
    "QUICK",
    "STEPS",
    "Size",
    "Step",
    "Variant",
    "candidates",
    "read_variant",
]
