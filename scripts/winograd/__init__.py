"""Training on processor cores, faster than torch's own convolutions: Winograd's minimal filtering.

    python -m scripts.winograd train srresnet-plus --profile cpu --data DIR

is ``fourfold train`` with the generator's 3x3 convolutions and its end, and VGG19's convolutions, computed by kernels
of our own, built with g++ when they are first used. There are two kinds: in bfloat16 for processors with AVX-512 BF16
(``convolution.cpp``, ``tail.cpp``), in float32 for all with AVX2 (``convolution_fp32.cpp``, ``tail_fp32.cpp``). They
are the same networks and the same parameters; runs, checkpoints and weights can be taken up by ``fourfold train`` and
back. One thread for each process: with several cores, several processes (``torchrun --nproc-per-node 2 -m --
scripts.winograd train ...``).

Where a kernel does not fit (other widths, odd sides in bfloat16), torch computes as always.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016.
"""
