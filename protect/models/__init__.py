"""Pretrained networks: their names, their weight files, and the wrapper that everything trains.

The only package that may import timm, torchvision or huggingface_hub.
"""
