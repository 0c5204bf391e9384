"""Attention on accelerators: each backend equals the reference op and its gradients."""
