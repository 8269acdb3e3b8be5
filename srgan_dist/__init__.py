"""Distributed training of super-resolution GANs: WebDataset shards, Accelerate, MLflow."""
