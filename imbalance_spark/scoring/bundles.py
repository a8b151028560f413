"""Models of two classes and of more, read back and scored alike."""

from imbalance_spark.multiclass.model import FORMAT as CLASS_FORMAT
from imbalance_spark.multiclass.model import ClassBundle, ClassScorer
from imbalance_spark.scoring.bundle_files import read_parts
from imbalance_spark.scoring.scorer import ModelBundle, Scorer

Bundle = ModelBundle | ClassBundle


def read_bundle(folder: str) -> Bundle:
    """The bundle that a folder holds.

    Raises:
        DataContractError: a part is missing or changed, or is of a format that this package does not read.
    """
    _, described, _ = read_parts(folder)
    return (ClassBundle if described.get("format") == CLASS_FORMAT else ModelBundle).load(folder)


def scorer_of(bundle: Bundle) -> Scorer | ClassScorer:
    """What scores orders with a bundle."""
    return ClassScorer(bundle) if isinstance(bundle, ClassBundle) else Scorer(bundle)
