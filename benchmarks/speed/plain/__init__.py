"""The loop that gradlab is measured against: one network after another, written with care in plain PyTorch.

It is what a competent engineer has after an afternoon: one `nn.Sequential` per trial, the fused optimizers of
`torch.optim`, minibatches gathered by one index, every column of a record taken in as few operators as plain code
allows, and one transfer per record. Norms are float32, as people's own monitors are: what float32 loses is lost here.
Nothing of gradlab is imported.
"""
