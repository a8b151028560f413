"""Strategies of fitting all rows with another loss than XGBoost's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from imbalance_spark.core.section import Share
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.strategies.boosting import Boosted

Focusing = Annotated[float, Field(ge=0.0, le=100.0)]


class Focal(Boosted):
    """Focal loss: rows that the model gets right count less.

    Args:
        gamma: focusing, 0 is none.
        alpha: of two classes the positive one's weight, the other has 1 - alpha; with null both have 1.
    """

    kind: Literal["focal"] = "focal"
    is_focal: ClassVar[bool] = True
    gamma: Focusing = 2.0
    alpha: Share | None = None

    def problems(self, classes: Sequence[str], numeric: Sequence[str], categorical: Sequence[str]) -> Iterator[str]:
        """Alpha for more classes than two."""
        if len(classes) > 2 and self.alpha is not None:
            yield (
                f"strategy {self.name!r}: alpha weighs the positive one of two classes: leave it out, or use "
                "class_balanced_focal, which weighs all"
            )

    def loss(self, counts: Mapping[int, int]) -> FocalLoss:
        """The usual focal loss."""
        return FocalLoss.focal(self.gamma, self.alpha, classes=len(counts))


class AsymmetricFocal(Boosted):
    """Focal loss that focuses more on the hard rows of the largest class than on the others.

    Args:
        gamma_negative: focusing of class 0, or of more than two classes the largest.
        gamma_positive: focusing of all others.
    """

    kind: Literal["asymmetric_focal"] = "asymmetric_focal"
    is_focal: ClassVar[bool] = True
    gamma_negative: Focusing = 4.0
    gamma_positive: Focusing = 1.0

    def loss(self, counts: Mapping[int, int]) -> FocalLoss:
        """A focusing of its own for the largest class."""
        classes = len(counts)
        largest = 0 if classes == 2 else max(sorted(counts), key=lambda k: counts[k])
        return FocalLoss.asymmetric(self.gamma_negative, self.gamma_positive, classes=classes, largest=largest)


class ClassBalancedFocal(Boosted):
    """Focal loss with a weight for each class by its effective number of rows.

    Args:
        gamma: focusing, 0 is none.
        beta: of the effective number of rows, in [0, 1).
    """

    kind: Literal["class_balanced_focal"] = "class_balanced_focal"
    is_focal: ClassVar[bool] = True
    gamma: Focusing = 2.0
    beta: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999

    def loss(self, counts: Mapping[int, int]) -> FocalLoss:
        """Weights by the effective number of rows, on these counts."""
        return FocalLoss.class_balanced(counts, beta=self.beta, gamma=self.gamma)


class LogitAdjusted(Boosted):
    """Logit-adjusted loss: scores are those of classes as frequent as each other, without weights in the gradient.

    Where probabilities are corrected, as here, and a fit starts from the class shares, it is plain training by another
    road: margins differ by a constant, and the corrected probabilities are those of `none` but for rounding.

    Args:
        tau: how far scores are adjusted, 1 is fully.
    """

    kind: Literal["logit_adjusted"] = "logit_adjusted"
    is_focal: ClassVar[bool] = True
    tau: Annotated[float, Field(gt=0.0, le=5.0)] = 1.0

    def loss(self, counts: Mapping[int, int]) -> FocalLoss:
        """Cross-entropy of adjusted margins, by the shares of these counts."""
        return FocalLoss.logit_adjusted(counts, tau=self.tau)
