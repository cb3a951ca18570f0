"""A discriminator that judges every place of a picture, not the picture as a whole."""

from torch import Tensor, nn

#: (multiple of the width, kernel, stride) of the convolutions before the last.
STEPS = ((1, 3, 1), (2, 4, 2), (4, 4, 2), (4, 3, 1))

#: Side of the square of pixels that one logit looks at.
RECEPTIVE_FIELD_PX = 28


class PatchDiscriminator(nn.Module):
    """Tells real from restored at every fourth pixel, from the 28x28 pixels around it (Isola et al. 2017, 3.2.2).

    ::

        picture ── conv k3 s1 n ── LReLU ── [conv ── BN ── LReLU] x 3 ── conv k3 ── logits, a map of a quarter the side
                                             k4 s2 2n, k4 s2 4n, k3 s1 4n

    Texture is local: whether hair looks like hair shows in 28 pixels. One logit for a whole crop, as in the paper's
    discriminator, is one bit to learn from; here a crop of 96 pixels gives 576. With 64 maps that takes 961 million
    multiply-adds, the paper's 884, and 1.3 million parameters, the paper's 23.6. It knows no objects, which for
    four-fold enlargement is the content loss's business.

    Batch norm uses the statistics of the batch that it is given and keeps no running ones, as in
    :class:`fourfold.networks.Discriminator`. Initialisation: torch's default.

    Args:
        width: maps of the first convolution, n.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for k, (factor, kernel, stride) in enumerate(STEPS):
            layers.append(nn.Conv2d(channels, factor * width, kernel, stride=stride, padding=1, bias=k == 0))
            if k > 0:
                layers.append(nn.BatchNorm2d(factor * width, track_running_stats=False))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            channels = factor * width
        self.features = nn.Sequential(*layers)
        self.logit = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Returns one logit per place, (N, 1, H / 4, W / 4): positive means "taken for real".

        Args:
            pictures: (N, 3, H, W), RGB in 0..1, sides multiples of 4.
        """
        return self.logit(self.features(pictures * 2.0 - 1.0)).float()
