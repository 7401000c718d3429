"""One thread per process and settled kernels, as gradlab itself works: its numbers rely on it."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

import torch

torch.set_num_threads(1)
