"""
SBP in plain PyTorch
====================

Text.
"""
import torch
from torch import nn

print(torch.__version__)
