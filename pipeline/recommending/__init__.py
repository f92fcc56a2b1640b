"""A trained model that can be asked: `Recommender`."""

from pipeline.recommending.answers import Explanation, Recommendation
from pipeline.recommending.new_items import NewItem
from pipeline.recommending.recommender import Recommender

__all__ = ["Explanation", "NewItem", "Recommendation", "Recommender"]
