"""Every error that Fourfold raises on purpose.

::

    FourfoldError                something failed; the message names the remedy      exit 1
    ├── UsageError               the call itself is wrong                            exit 2
    │   ├── UnknownModelError    no such shipped model or weights file
    │   └── RecipeError          a recipe or a --set is not valid; names the key
    ├── PictureError             a picture cannot be read or written
    │   ├── PictureTooLargeError header over the pixel limit; nothing was decoded
    │   └── OutputExistsError    the output is there already, --overwrite was not given
    ├── WeightsError             a weights file is damaged or not what it says
    ├── EngineError              an engine cannot run here or failed
    ├── DataError                training or benchmark data are not usable
    ├── TrainingError            training stopped: NaN, dead loss term, full disk
    │   └── CheckpointError      a checkpoint is damaged or of another recipe
    ├── EvaluationError          pictures cannot be compared
    ├── StudyError               a rating study is damaged, changed or closed
    │   ├── StudyStoreError      the ratings cannot be kept: read-only, full, newer version
    │   └── RatingRefusedError   a vote out of range, out of order, twice, or not one's own
    └── CancelledError           the caller asked to stop; nothing half-written is left

A message says what failed, the value, and what would work.
"""


class FourfoldError(Exception):
    """Something failed; the message says what, and what would work."""


class UsageError(FourfoldError):
    """The call itself is wrong: an option, a name, a combination."""


class UnknownModelError(UsageError):
    """No shipped model and no weights file of that name."""


class RecipeError(UsageError):
    """A recipe, or a setting given on top of it, is not valid."""


class PictureError(FourfoldError):
    """A picture cannot be read or written."""


class PictureTooLargeError(PictureError):
    """The header announces more pixels than the limit; nothing was decoded."""


class OutputExistsError(PictureError):
    """The output is there already and may not be replaced."""


class WeightsError(FourfoldError):
    """A weights file is damaged or does not hold what its header says."""


class EngineError(FourfoldError):
    """An engine cannot run on this machine, or failed while running."""


class DataError(FourfoldError):
    """Training or benchmark data are missing or unusable."""


class TrainingError(FourfoldError):
    """Training stopped; the last good state is kept."""


class CheckpointError(TrainingError):
    """A checkpoint is damaged or belongs to another recipe."""


class EvaluationError(FourfoldError):
    """Two pictures, or two sets of pictures, cannot be compared."""


class StudyError(FourfoldError):
    """A rating study is damaged, was changed, or refuses a rating."""


class StudyStoreError(StudyError):
    """The store of the ratings cannot be opened, or did not keep a rating."""


class RatingRefusedError(StudyError):
    """A rating, a token or an undo that the study does not accept; nothing was changed.

    ``reason`` tells a server what kind of refusal it is: ``conflict``, ``range``, ``forbidden`` or ``token``.
    """

    def __init__(self, message: str, reason: str = "conflict") -> None:
        super().__init__(message)
        self.reason = reason


class CancelledError(FourfoldError):
    """The caller asked to stop; nothing half-written is left."""
