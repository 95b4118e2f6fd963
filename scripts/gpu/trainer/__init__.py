"""What `job.py` trains with, on a machine that has PyTorch, timm, safetensors and Pillow, and not the package."""
