"""Which layer of ours holds the weights of which PyTorch module, one file a family of backbones."""
