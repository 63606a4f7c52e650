"""A trainer that needs a package which is not installed."""

import not_installed_learner
from dassl.engine import TRAINER_REGISTRY, TrainerX


@TRAINER_REGISTRY.register()
class MetaPrompt(TrainerX):
    learner = not_installed_learner.MAML
