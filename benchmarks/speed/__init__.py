"""How fast gradlab trains: against a plain PyTorch loop, JAX and the processor's own peak."""
