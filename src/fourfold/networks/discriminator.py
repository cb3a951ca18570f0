"""SRGAN's discriminator (Ledig et al. 2017, figure 4)."""

from torch import Tensor, nn

#: (maps, stride) of the eight convolutions.
STEPS = ((64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2))


class Discriminator(nn.Module):
    """Tells HR crops from super-resolved ones (Ledig et al. 2017, figure 4, section 2.1.1).

    ::

        picture ── conv k3 n64 s1 ── LReLU ── [conv k3 ── BN ── LReLU] x 7 ── dense 1024 ── LReLU ── dense 1 ── logit
                                              n64 s2, n128 s1, n128 s2, n256 s1,
                                              n256 s2, n512 s1, n512 s2

    LeakyReLU's slope is 0.2; there is no pooling. The figure ends in a sigmoid; here the logit comes out and the
    loss takes it (``binary_cross_entropy_with_logits``): the same function, without its overflow.

    Batch norm uses the statistics of the batch that it is given and keeps no running ones: the discriminator only
    ever sees batches while training, and a step of the generator through it leaves nothing behind in it.

    Initialisation: torch's default (Kaiming-uniform with a = sqrt(5)); the paper names none.

    Args:
        crop_px: side of the square crops it sees, a multiple of 16; 96 in the paper.
        width: maps of the first convolution; 64 in the paper, smaller in tests.
    """

    def __init__(self, crop_px: int = 96, width: int = 64) -> None:
        super().__init__()
        if crop_px < 16 or crop_px % 16:
            raise ValueError(f"the discriminator's crop is {crop_px} px; it must be a multiple of 16")
        self.crop_px = crop_px
        layers: list[nn.Module] = []
        channels = 3
        for k, (maps, stride) in enumerate(STEPS):
            maps = maps * width // 64
            # Batch norm has a bias of its own; the first convolution has no batch norm.
            layers.append(nn.Conv2d(channels, maps, 3, stride=stride, padding=1, bias=k == 0))
            if k > 0:
                layers.append(nn.BatchNorm2d(maps, track_running_stats=False))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            channels = maps
        self.features = nn.Sequential(*layers)
        self.dense = nn.Linear(channels * (crop_px // 16) ** 2, 16 * width)
        self.activation = nn.LeakyReLU(0.2, inplace=True)
        self.logit = nn.Linear(16 * width, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Returns one logit per picture, (N,): positive means "taken for a real HR crop".

        Args:
            pictures: (N, 3, crop_px, crop_px), RGB in 0..1; mapped to the paper's -1..1 here.
        """
        features = self.features(pictures * 2.0 - 1.0)
        dense = self.activation(self.dense(features.flatten(1)))
        return self.logit(dense).flatten().float()
