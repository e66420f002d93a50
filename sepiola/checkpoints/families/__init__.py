"""One file for each family of checkpoints; `sepiola.checkpoints.registry` lists them."""
