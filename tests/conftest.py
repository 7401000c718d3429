"""One thread per process, as gradlab itself works: its numbers rely on it, and idle threads fight for the cores."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import torch

torch.set_num_threads(1)
