"""Measurement that can be trusted: metrics, methods, benchmark sets, and the paper's tables side by side."""

from fourfold.evaluation.metrics import planes, psnr, ssim_daala, ssim_wang

__all__ = ["planes", "psnr", "ssim_daala", "ssim_wang"]
