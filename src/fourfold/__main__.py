"""``python -m fourfold``: the same as the command ``fourfold``; what torchrun starts."""

from fourfold.cli import main

if __name__ == "__main__":
    main()
