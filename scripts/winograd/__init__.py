"""Training on processor cores with AVX-512 BF16, two thirds faster: convolutions by Winograd's minimal filtering.

    python -m scripts.winograd train srresnet-plus --profile cpu --data DIR

is ``fourfold train`` with the generator's 3x3 convolutions and its end, and VGG19's convolutions, computed by kernels
of our own (``convolution.cpp``, ``tail.cpp``), built with g++ when they are first used. They are the same networks and
the same parameters; runs, checkpoints and weights can be taken up by ``fourfold train`` and back. One thread for each
process: with several cores, several processes (``torchrun --nproc-per-node 2 -m -- scripts.winograd train ...``).

Where a kernel does not fit (another precision, trained batch-norm statistics, odd sides), torch computes as always.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016.
"""
